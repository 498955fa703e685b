"""What the daemon keeps and reads on shares: the connections, numbered files, replicas' reports,
how long starts took, and the garbage.
"""
