"""Deployment templates: reading their JSON, evaluating their expressions, expanding their
resources. No HTTP, no store.
"""
