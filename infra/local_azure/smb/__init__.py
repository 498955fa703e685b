"""A share as an SMB mount shows it: cached for a while, case-insensitive, strict about names. FUSE
without a library.
"""
