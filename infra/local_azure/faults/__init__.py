"""Misbehaviour on demand: faults scripted by a file or a command, kept in SQLite, met at the hooks
of the other packages.
"""
