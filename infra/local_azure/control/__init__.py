"""The state machines behind the providers: which apps and jobs run, what they mount and may use,
and how a stored resource is found, written and locked while an operation runs on it.
"""
