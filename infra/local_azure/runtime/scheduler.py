"""Keeps the wanted revisions running: replicas, probes, scale and routes. Driven by the ARM server."""
