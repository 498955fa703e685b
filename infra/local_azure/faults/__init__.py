"""Misbehaviour on demand: faults scripted by a file or a command, kept in a book, met at the hooks
of the other packages.
"""
