"""Runs container app revisions as processes on this machine: the scheduler, one shim per replica,
their namespaces and probes.
"""
