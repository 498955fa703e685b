"""The smallest web API: answers every GET with a greeting. What web-api.yaml runs."""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    greeting = "Hello"

    def do_GET(self) -> None:
        body = json.dumps({"greeting": self.greeting, "path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--greeting", default="Hello")
    Echo.greeting = parser.parse_args().greeting
    ThreadingHTTPServer(("0.0.0.0", 8080), Echo).serve_forever()
