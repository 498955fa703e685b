"""Finds the routes that a gateway should follow: the highest valid file in their folder.

Blocking; world.py calls it in a thread.
"""

from __future__ import annotations

from pathlib import Path

from serving.gateway.routes import LONGEST, ROUTES_NAME, GatewayRoutes
from serving.untrusted import UntrustedError, read


class RoutesWatch:
    """Level-triggered; routes that were valid stay in use while the folder cannot be read."""

    def __init__(self, folder: Path, environment: str) -> None:
        self._folder, self._environment = folder, environment
        self.current: GatewayRoutes | None = None
        self.problem = ""

    def read(self) -> GatewayRoutes | None:
        """The best routes there are. Never raises for an error of the share."""
        try:
            names = [path.name for path in self._folder.iterdir() if ROUTES_NAME.match(path.name)]
        except OSError as error:
            self.problem = f"the folder of routes cannot be read: {error.strerror or error}"
            return self.current
        self.problem = "" if names or self.current else "there are no routes yet"
        for name in sorted(names, reverse=True):
            if self.current is not None and name == self.current.file_name:
                break
            routes = self._valid(name)
            if routes is not None:
                self.current = routes
                break
        return self.current

    def _valid(self, name: str) -> GatewayRoutes | None:
        try:
            routes = GatewayRoutes.load(read(self._folder / name, LONGEST))
        except (OSError, UntrustedError) as error:
            self.problem = f"{name} cannot be read: {getattr(error, 'strerror', '') or error}"
            return None
        if routes is None:
            self.problem = f"{name} does not match its own hash"
        elif (routes.file_name, routes.environment) != (name, self._environment):
            self.problem = f"{name} was written for something else"
            routes = None
        return routes
