"""How many bytes besides its body a message may have, how long its head may take, and how long a
connection without messages stays open.

connections.py counts so in a replica, gateway/listener.py in the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.request.answers import refuse

HEAD = 64 << 10  # bytes; Container Apps' ingress takes 60 KiB of headers
# For each byte of a body. A chunk of one byte takes six, and no client sends smaller ones.
_EACH = 8
SECONDS = 60.0  # for a head to arrive
# Seconds. An ingress keeps idle connections for an hour (Envoy's default). Where a replica closes
# first, a request may meet a connection that is just being closed: 503.
KEPT_OPEN = 3900
UNREADABLE = refuse(400, "The request is no valid HTTP/1.1 request.", "invalid_request")


@dataclass
class Framing:
    """Bytes that came for one message, and those of its body among them."""

    received: int = 0
    body: int = 0

    @property
    def excessive(self) -> bool:
        return self.received - self.body > HEAD + _EACH * self.body
