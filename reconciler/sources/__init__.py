"""Reads documents and what they name: on this machine, on shares, on a hub."""
