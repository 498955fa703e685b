"""A share as an SMB mount shows it: stale for a while, case-insensitive, picky about names. FUSE
without a library.
"""
