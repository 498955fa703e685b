"""The way of a Resource Manager request, from the bytes to the reply, and long-running operations.
The providers bring their routes.
"""
