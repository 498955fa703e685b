"""The gateway of an Environment: one address in front of its services, which wakes what sleeps.

It runs as a container app of its own and has no rights on Azure. routes.py is what the daemon tells
it; nothing here imports the reconciler.
"""
