"""What replicas and gateways follow on a share, read without a document that asks for it. `import
azure` reads it when the documents are lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.api.resources import ShareRef, gateway_folder
from reconciler.kinds.service.app_body import engine_of
from reconciler.kinds.share.numbered_files import NumberedFiles
from reconciler.kinds.share.shares import Shares
from serving import catalogue
from serving.catalogue import Catalogue
from serving.gateway import routes
from serving.gateway.routes import GatewayRoutes


async def followed_catalogues(
    shares: Shares, ref: ShareRef, apps: Iterable[Mapping[str, Any]]
) -> dict[str, Catalogue]:
    """The catalogue of each container app whose template names an engine, by the app's name."""
    files = NumberedFiles(shares, catalogue.FILE_NAME, Catalogue.load, catalogue.LONGEST)
    found = {}
    for app in apps:
        name, engine = str(app["name"]), engine_of(app["properties"].get("template") or {})
        if engine:
            newest, _ = await files.newest(ref, f"services/{name}/{engine}/catalogue")
            if newest is not None:
                found[name] = newest
    return found


async def followed_routes(shares: Shares, ref: ShareRef) -> GatewayRoutes | None:
    """The routes of the Environment's gateway."""
    files = NumberedFiles(shares, routes.ROUTES_NAME, GatewayRoutes.load, routes.LONGEST)
    newest, _ = await files.newest(ref, f"{gateway_folder(ref.environment)}/routes")
    return newest
