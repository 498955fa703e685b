"""An Environment with a gateway on the local Azure: it is a real process there, wakes a service that
sleeps, and answers for it. The service's replicas are stand-ins that load no model.
"""

import asyncio
import json
import ssl
import urllib.parse
import urllib.request
from contextlib import asynccontextmanager
from datetime import date

import openai
import pytest

from reconciler.composition.environment import share_of
from reconciler.kinds.gateway.gateway_usage import read_usage, totals
from tests import tiny_model
from tests.benchmarks.models import images
from tests.e2e.inside import inside
from tests.e2e.stage import Stage, environment
from tests.login import login_form

PHI = {
    "apiVersion": "moorage.dev/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "phi"},
    "spec": {
        "model": {"source": "./model"},
        "workloadProfileName": "Consumption",
        "scale": {"minReplicas": 0, "maxReplicas": 1, "cooldownPeriod": 12},
        "ingress": {"external": False},
        "terminationGracePeriodSeconds": 2,
    },
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    root = tmp_path_factory.mktemp("gateway")
    tiny_model.make_model(root / "model")
    with Stage(root, "--images", str(images(root / "image"))) as stage:
        yield stage


def client_of(stage, key, endpoint):
    trust = ssl.create_default_context(cafile=stage.ca)
    return openai.AsyncOpenAI(
        api_key=key,
        base_url=f"{endpoint}/v1",
        max_retries=0,
        timeout=60,
        http_client=openai.DefaultAsyncHttpxClient(verify=trust),
    )


def token_of(stage, audience):
    """A token of the local Azure's login, as the client of an application gets it."""
    facts = stage.facts
    form = login_form(facts, audience)
    url = f"{facts['authority']}/{facts['tenantId']}/oauth2/v2.0/token"
    trust = ssl.create_default_context(cafile=stage.ca)
    with urllib.request.urlopen(
        url, urllib.parse.urlencode(form).encode(), context=trust
    ) as answer:
        return json.load(answer)["access_token"]


async def test_a_sleeping_service_answers_through_the_gateway(stage):
    """One address, a key of the Environment, and a service that nobody outside can reach: it is
    woken, its answer comes, and the status, the key command and the usage know of it.
    """
    stage.save(environment("default", gateway={"entra": {"audience": "api://moorage"}}), PHI)
    async with inside(stage, "gateway") as daemon:
        await daemon.converged("phi", seconds=90)
        await daemon.until(
            lambda: daemon.condition("default", "Ready", "Environment")["status"] == "True",
            "the gateway serves",
            90,
        )

        def gateway():
            return daemon.document("default", "Environment")["gateway"]

        def state():
            return next((s["state"] for s in gateway()["services"] if s["name"] == "phi"), "")

        await daemon.until(
            lambda: daemon.condition("phi", "Ready")["reason"] == "ScaledToZero", "phi sleeps", 60
        )
        key = await asyncio.to_thread(stage.moorage, "key", "gw-default")
        client = client_of(stage, key.stdout.strip(), gateway()["endpoint"])
        question = {"model": "phi", "messages": [{"role": "user", "content": "hello"}]}
        answer = await client.chat.completions.create(**question)
        assert answer.choices[0].message.content.startswith("phi for ")
        stream = await client.chat.completions.create(**question, stream=True)
        said = [chunk.choices[0].delta.content async for chunk in stream]
        assert said[0].startswith("phi for ")
        assert [model.id async for model in client.models.list()] == ["phi"]
        token = await asyncio.to_thread(token_of, stage, "api://moorage")
        with_token = client_of(stage, token, gateway()["endpoint"])
        assert [model.id async for model in with_token.models.list()] == ["phi"]
        other = client_of(
            stage, await asyncio.to_thread(token_of, stage, "api://other"), gateway()["endpoint"]
        )
        with pytest.raises(openai.AuthenticationError):
            await other.models.list()
        async with kept_awake(client, question) as asked:
            await daemon.until(lambda: state() == "ready", "the status says that phi is awake")
        await uses(daemon.daemon, [("default", 2 + len(asked))])


@asynccontextmanager
async def kept_awake(client, question):
    """A request every two seconds, because the service sleeps again after twelve."""
    asked = []

    async def ask():
        while not done.is_set():
            asked.append(await client.chat.completions.create(**question))
            await asyncio.sleep(2)

    done = asyncio.Event()
    asking = asyncio.create_task(ask())
    try:
        yield asked
    finally:
        done.set()
        await asking


async def uses(daemon, wanted):
    """Wait until the gateway has written these numbers of requests by key."""
    name = daemon.composition.names["default"]
    share = daemon.shares.open(share_of(name))
    found = []
    async with asyncio.timeout(90):
        while found != wanted:
            await asyncio.sleep(0.5)
            lines = (await read_usage(share, "gateway/default", date(2026, 1, 1))).lines
            found = [(line.key, line.requests) for line in totals(lines, "key")]
