"""How vLLM loads Moorage: an endpoint plugin (entry point group `vllm.endpoint_plugins`) that
starts the Replica inside the server.

vLLM only logs a plugin that fails. The gate then stays shut, because nothing has given it a Door.
"""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.engine import VllmEngine
from serving.replica import Place, Replica
from serving.request import media
from serving.request.answers import refuse
from serving.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response


class MoorageEndpoints:
    """Satisfies vllm.plugins.endpoint_plugins.interface.EndpointPlugin."""

    name = "moorage"
    required_tasks = None

    def attach_router(self, app: FastAPI) -> None:
        """Adds the one OpenAI route that vLLM lacks: a single model. Limits the connections of the
        server that comes next.
        """
        from serving.request import connections

        connections.install()
        app.add_route("/v1/models/{model_id:path}", _one_model, methods=["GET"])

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        """Called once the model is loaded, before the server listens."""
        from vllm.connections import global_http_connection

        if engine_client is None:
            raise RuntimeError("Moorage serves models; vLLM's render server has none")
        tasks = tuple(await engine_client.get_supported_tasks())
        base = Path(args.model)
        replica = Replica(
            VllmEngine(engine_client, state.openai_serving_models, tasks),
            Place.from_environment(),
            base if base.is_dir() else None,
            Metrics(),
        )
        media.guard(global_http_connection, lambda: replica.door.limits.media_domains)
        await replica.start()
        state.moorage = replica.door
        state.moorage_replica = replica  # the event loop holds tasks weakly


def register() -> MoorageEndpoints:
    """The entry point's target: vLLM calls it without arguments."""
    logger = logging.getLogger("moorage")  # vLLM configures its own loggers only
    _to_console(logger, "%(levelname)s %(asctime)s [moorage] %(message)s")
    _to_console(logging.getLogger("moorage.requests"), "%(message)s")  # JSON lines
    if not any(
        point.name == "moorage" for point in metadata.entry_points(group="vllm.general_plugins")
    ):
        logger.warning(
            "serving.every_process is not registered: on a CPU the base model may answer with an"
            " adapter's weights"
        )
    return MoorageEndpoints()


def _to_console(logger: logging.Logger, form: str) -> None:
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(form))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


async def _one_model(request: Request) -> Response:
    from starlette.responses import JSONResponse, Response

    model_id = request.path_params["model_id"]
    models = await request.app.state.openai_serving_models.show_available_models()
    for card in models.data:
        if card.id == model_id:
            return JSONResponse(card.model_dump())
    answer = refuse(404, f"The model `{model_id}` does not exist.", "model_not_found")
    return Response(answer.body, 404, media_type="application/json")
