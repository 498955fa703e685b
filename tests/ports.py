"""A port for a server that is told its port and cannot say which one it took."""

import random
import socket

# Below the range from which the system takes ports of outgoing connections, which would take a
# port between this look and the server's start.
BELOW_THE_SYSTEMS = range(20_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on; a random one, because other test processes look
    too.
    """
    for port in random.sample(BELOW_THE_SYSTEMS, 100):
        with socket.socket() as probe:
            # A server sets this too: connections that have ended do not keep a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("none of 100 ports is free")
