"""What turns an edge into a key: saved files, the resync timer, orphans."""
