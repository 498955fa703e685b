"""One file per family of resource types; `catalogue.ROUTES` joins their tables for the
ARM front.
"""
