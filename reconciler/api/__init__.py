"""Pydantic models only: documents, conditions, manifest loading. No I/O beyond reading files,
nothing of Azure.
"""
