"""A stand-in for Azure on loopback: login, ARM, Azure Files, replicas, ingress. It shares no code
with the reconciler.
"""
