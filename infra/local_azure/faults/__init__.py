"""Scripted misbehaviour: faults given by a file or a command, kept in SQLite, met at the hooks
of the other packages.
"""
