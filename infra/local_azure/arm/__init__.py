"""The ARM front: parsing ids, checking tokens and api-versions, long-running operations, errors.
Providers hang on it.
"""
