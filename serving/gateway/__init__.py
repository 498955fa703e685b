"""The gateway of an Environment: one address in front of its services, which wakes sleeping ones.

It runs as a container app of its own and has no rights on Azure. routes.py is its contract with the
daemon; nothing here imports the reconciler.
"""
