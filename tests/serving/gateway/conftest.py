"""A gateway in this process, before stand-in services, on a share that is a folder."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from serving.catalogue import ApiKey
from serving.gateway.background import Background
from serving.gateway.front import Front
from serving.gateway.listener import Listener
from serving.gateway.passage import Patience
from serving.gateway.routes import GatewayRoutes, RoutedModel, RoutedService, StartPrediction
from serving.gateway.world import GatewayWorld, Spot
from tests.serving.gateway.stand_in import StandIn, served

ENVIRONMENT_KEY, SERVICE_KEY, ADMIN_KEY = "sk-everything", "sk-phi", "sk-admin"
PREDICTED = StartPrediction(seconds=90, stages={"assigned": 10, "weights": 60, "adapters": 20})


def key(name, text, **more):
    return ApiKey(name=name, sha256=hashlib.sha256(text.encode()).hexdigest(), **more)


class Gateway:
    """`world` and `front` as the process has them; `post` asks as a client does."""

    def __init__(self, tmp_path, patience):
        self.share, self.data = tmp_path / "share", tmp_path / "data"
        self.folder = self.share / "gateway" / "dev" / "routes"
        self.folder.mkdir(parents=True, exist_ok=True)
        spot = Spot(self.share, self.data, "dev", "gw-1", "sk-gateway")
        self.world = GatewayWorld(spot, patience)
        self.background = Background(self.world)
        self.front = Front(self.world, self.background)
        self.url, self.session = "", None
        self.generation = 0

    def publish(self, *services, **more):
        self.generation += 1
        more = {"keys": (key("team", ENVIRONMENT_KEY), key("ops", ADMIN_KEY, admin=True))} | more
        routes = GatewayRoutes(
            environment="dev", generation=self.generation, services=services, **more
        )
        (self.folder / routes.file_name).write_bytes(routes.dump())
        return routes

    async def follow(self):
        await self.world._follow()

    def post(self, path="/v1/chat/completions", token=ENVIRONMENT_KEY, headers=None, **body):
        body = {"model": "phi", "messages": [{"role": "user", "content": "hi"}]} | body
        headers = {"authorization": f"Bearer {token}"} | (headers or {})
        return self.session.post(self.url + path, json=body, headers=headers)

    def get(self, path, token=ENVIRONMENT_KEY):
        return self.session.get(
            self.url + path, headers={"authorization": f"Bearer {token}"} if token else {}
        )


def route(name, url, **more):
    models = (
        RoutedModel(name=name),
        RoutedModel(name="support", kind="adapter", aliases=(f"{name}/support",)),
    )
    more = {"keys": (key("default", f"sk-{name}"),), "predicted": PREDICTED} | more
    return RoutedService(name=name, endpoint=url, **{"models": models} | more)


@pytest.fixture
async def gateways(tmp_path):
    """Starts a gateway before stand-ins: `gateway = await gateways(phi=StandIn())`."""
    async with AsyncExitStack() as stack:

        async def start(*, patience=None, routes=None, more=None, **stand_ins):
            gateway = Gateway(tmp_path, patience or Patience())
            services = []
            for name, one in stand_ins.items():
                url = await stack.enter_async_context(served(one.handle))
                services.append(route(name, url, **(routes or {}).get(name, {})))
            gateway.services = services
            gateway.publish(*services, **(more or {}))
            await gateway.world.start()
            stack.push_async_callback(gateway.world.close)
            await gateway.background.start()
            stack.push_async_callback(gateway.background.close)
            gateway.url = await stack.enter_async_context(
                served(
                    gateway.front.handle,
                    Listener,
                    handler_cancellation=True,
                    auto_decompress=False,
                )
            )
            gateway.session = await stack.enter_async_context(aiohttp.ClientSession())
            return gateway

        yield start


__all__ = ["StandIn", "asynccontextmanager", "gateways", "key", "route"]
