"""Microsoft.Storage: accounts and file shares at ARM's level; the files themselves are
in `files`.
"""
