"""The Container Apps edge: one process that terminates TLS per app and streams requests to ready
replicas.
"""
