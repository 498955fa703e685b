"""The start of a replica: vLLM's arguments, what makes the start shorter, and how far it has come.
launch.py uses it.
"""
