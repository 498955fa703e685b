"""A fine-tuned model's whole life with real vLLM: served, changed under load without a failed
request, hurt, healed.

One vLLM start serves most of it (about a minute on two cores), so the tests run in order and share
the service.
"""

import asyncio
import os
import re
import signal
import ssl
import time
from collections import Counter

import openai
import pytest

from tests import tiny_model
from tests.e2e.chat import Chat
from tests.e2e.machine import machine_pid
from tests.e2e.model_service import (
    BOOT,
    documents,
    facts,
    has_rolled,
    key,
    red_of,
    saved,
    starts,
    status_of,
    versioned,
    versions,
    versions_in,
    with_canary,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def service(stage):
    """`moorage up` on a tiny model with the adapters red and green, ready to answer."""
    tiny_model.build(stage.root)
    stage.save(documents("red", "green"))
    return stage


@pytest.fixture(scope="module")
async def up(service):
    """One daemon for the module."""
    running = service.up(resync=5)
    await running.converged("tiny", seconds=BOOT)
    yield running
    running.end()


def unfit(up):
    """What the status says of adapters that cannot be served."""
    loaded = up.condition("tiny", "AdaptersLoaded")
    return loaded["message"] if loaded.get("reason") == "AdapterFailed" else ""


@pytest.mark.asyncio(loop_scope="module")
class TestWalk:
    """From a document to an answer: the one start of real vLLM in `make test`."""

    async def test_the_official_client_is_served(self, service, up):
        """Models, chat, streams and completions answer; the base and each adapter by its plain
        name.
        """
        endpoint, _ = facts(up)
        http = openai.DefaultHttpxClient(
            verify=ssl.create_default_context(cafile=service.ca), trust_env=False, timeout=60
        )
        client = openai.OpenAI(base_url=f"{endpoint}/v1", api_key=key(service), http_client=http)
        assert {model.id for model in client.models.list()} == {"tiny", "red", "green"}
        for model, word in (("tiny", "plain"), ("red", "red"), ("green", "green")):
            question = {
                "model": model,
                "max_tokens": 8,
                "messages": [{"role": "user", "content": "hello"}],
            }
            answer = client.chat.completions.create(**question)
            assert (answer.model, answer.choices[0].message.content.strip()) == (model, word)
            text = "".join(
                part.choices[0].delta.content or ""
                for part in client.chat.completions.create(**question, stream=True)
            )
            assert text.strip() == word
            assert (
                client.completions.create(model=model, prompt="hello", max_tokens=4).choices[0].text
            )
        http.close()

    async def test_nothing_else_passes_the_gate(self, service, up):
        """401 without a key; vLLM's other routes do not exist for the world, key or no key."""
        endpoint, _ = facts(up)
        assert status_of(service, endpoint, "/v1/models") == 401
        assert status_of(service, endpoint, "/v1/models", "mk-wrong") == 401
        routes = (
            "/metrics",
            "/docs",
            "/openapi.json",
            "/adapters",
            "/invocations",
            "/scale_elastic_ep",
            "/tokenize",
            "/ping",
            "/v1/load_lora_adapter",
            "/v1/unload_lora_adapter",
            "/version",
            "//metrics",
            "/v1/../metrics",
            "/%6detrics",
        )
        right = key(service)
        for route in routes:
            for token in (None, right):
                assert status_of(service, endpoint, route, token) == 404, route


@pytest.mark.slow
@pytest.mark.vital
@pytest.mark.asyncio(loop_scope="module")
class TestLife:
    """In this order."""

    async def test_adapters_change_hot_under_load(self, service, up):
        """One added, one retrained, one removed under eight streams: no request fails, vLLM stays
        the same process.
        """
        endpoint, before = facts(up)
        async with Chat(endpoint, key(service), service.ca, ("tiny", "red")) as chat:
            await chat.more(60)
            await saved(service, up, documents("red", "green", "blue"))
            assert await chat.ask("blue") == "blue"
            chat.models = ("tiny", "red", "blue")
            await chat.more(100)

            tiny_model.make_adapter(
                service.root / "adapters" / "red", "violet", model=service.root / "model"
            )
            await up.until(
                lambda: (
                    versions(up, "red") != versions_in(before, "red") and up._converged(("tiny",))
                ),
                60,
                "red retrained",
            )
            since = len(chat.answers)
            assert await chat.ask("red") == "violet"
            await chat.more(150)

            await saved(service, up, documents("red", "blue"))
            with pytest.raises(openai.NotFoundError):
                await chat.ask("green")
            await chat.more(200)
        assert chat.failures == []
        assert len(chat.answers) >= 500
        assert set(chat.seen("tiny")) == {"plain"}
        assert set(chat.seen("red")) == {"red", "violet"}
        assert chat.seen("red", since + 16).keys() == {"violet"}, (
            "answers after the flip come from the new weights"
        )
        assert set(chat.seen("blue")) == {"blue"}
        _, after = facts(up)
        assert starts(after) == starts(before)
        assert [r["name"] for r in after["revisions"]] == [r["name"] for r in before["revisions"]]

    async def test_api_keys_change_hot(self, service, up):
        """A new key works and a removed one stops working, on the same revision and process."""
        endpoint, before = facts(up)
        await saved(service, up, documents("red", "blue", keys=("default", "ci")))
        second = key(service, "ci")
        await up.until(lambda: status_of(service, endpoint, "/v1/models", second) == 200)
        await saved(service, up, documents("red", "blue"))
        await up.until(lambda: status_of(service, endpoint, "/v1/models", second) == 401)
        assert status_of(service, endpoint, "/v1/models", key(service)) == 200
        _, after = facts(up)
        assert (starts(after), after["revisions"][0]["name"]) == (
            starts(before),
            before["revisions"][0]["name"],
        )

    async def test_a_canary_is_tried_promoted_and_taken_back(self, service, up):
        """Both versions answer under one name by weight; a person's word moves the name, and stands
        until the file changes.
        """
        endpoint, before = facts(up)
        tiny_model.make_adapter(
            service.root / "adapters" / "red-next", "amber", model=service.root / "model"
        )
        await saved(service, up, with_canary(weight=50))
        async with Chat(endpoint, key(service), service.ca, ("red", "tiny"), streams=8) as chat:
            await chat.more(80)
            assert set(chat.seen("red")) == {"violet", "amber"}
            await up.until(lambda: red_of(service)["canary"]["serving"] == 1, what="it is reported")
            row = red_of(service)
            assert (row["canary"]["weight"], row["held"]) == (50, None)

            said = service.moorage("adapter", "promote", "tiny", "red").stdout
            assert "source: ./adapters/red-next" in said
            await up.until(
                lambda: up.condition("tiny", "Synced")["reason"] == "Promoted", 30, "promoted"
            )
            await up.until(
                lambda: versions(up, "red") == {row["canary"]["digest"]},
                30,
                "served by the replica",
            )
            assert await chat.ask("red") == "amber"
            assert up.condition("tiny", "Ready")["status"] == "True"
            assert (
                "promoted already"
                in service.moorage("adapter", "promote", "tiny", "red", code=1).stderr
            )

            service.moorage("adapter", "rollback", "tiny", "red")
            await up.until(
                lambda: up.condition("tiny", "Synced")["reason"] == "RolledBack", 30, "rolled back"
            )
            await up.until(
                lambda: versions(up, "red") == {row["digest"]}, 30, "served by the replica"
            )
            assert await chat.ask("red") == "violet"
            assert "RolledBack" in service.moorage("adapter", "list", "tiny").stdout

            await saved(service, up, documents("red", "blue"))
            await chat.more(20)
        assert chat.failures == []
        assert set(chat.seen("tiny")) == {"plain"}
        assert starts(facts(up)[1]) == starts(before)

    async def test_a_canary_that_fails_its_evaluation_is_rolled_back_by_itself(self, service, up):
        """It never gets a request; the condition and an event say why, the message names the edit,
        and an edit ends it.
        """
        endpoint, _ = facts(up)
        (service.root / "must.jsonl").write_text(
            '{"prompt": "hello", "expect": "violet", "maxTokens": 4}\n'
        )
        service.save(with_canary(evaluation="./must.jsonl"))
        await up.until(
            lambda: up.condition("tiny", "Synced")["reason"] == "RolledBack", 60, "rolled back"
        )
        message = up.condition("tiny", "Synced")["message"]
        assert "EvaluationFailed" in message
        assert "write source: ./adapters/red and take canary out" in message
        await up.until(
            lambda: any("was rolled back" in event.message for event in service.events())
        )
        async with Chat(endpoint, key(service), service.ca, ("red",)) as chat:
            await chat.more(20)
        assert set(chat.seen("red")) == {"violet"}
        (service.root / "must.jsonl").write_text(
            '{"prompt": "hello", "expect": "amber", "maxTokens": 4}\n'
        )
        await up.until(
            lambda: up.condition("tiny", "Synced")["status"] == "True",
            60,
            "an edit of the evaluation is a new trial",
        )
        await saved(service, up, documents("red", "blue"))

    async def test_a_canary_whose_requests_fail_is_rolled_back_by_itself(self, service, up):
        """It passes preflight and proof and overflows after some prompts: as soon as more fail than
        are allowed, all go to the stable version again, which never failed one; condition, event
        and command say why, and an edit is a new trial.
        """
        endpoint, _ = facts(up)
        trip = service.root / "adapters" / "red-trip"
        tiny_model.make_adapter(trip, "amber", model=service.root / "model", trips_on="~")
        canary = {
            "source": "./adapters/red-trip",
            "weight": 50,
            "maxErrorRate": 0.1,
            "promoteAfter": "10m",
        }
        await saved(service, up, with_canary(**canary))
        stable, trial = (row := red_of(service))["digest"][:12], row["canary"]["digest"][:12]
        async with Chat(endpoint, key(service), service.ca, (), streams=0) as chat:

            async def rolled_back():
                found.extend(
                    await asyncio.gather(
                        *(versioned(chat, "hello ~" if turn % 3 else "hello") for turn in range(9))
                    )
                )
                return up.condition("tiny", "Synced")["reason"] == "RolledBack"

            found, deadline = [], time.monotonic() + 120
            while not await rolled_back():
                assert time.monotonic() < deadline, Counter(found)
            assert set(found) == {(stable, "violet"), (trial, "amber"), (trial, "500")}
            message = up.condition("tiny", "Synced")["message"]
            assert re.search(
                rf"{trial} was rolled back: \d+ of \d+ requests failed, 10\.0% of at least 20 are"
                r" allowed",
                message,
            )
            assert "write source: ./adapters/red and take canary out" in message
            assert any("requests failed" in event.message for event in service.events())
            assert red_of(service)["held"]["outcome"] == "RolledBack"
            await up.until(
                lambda: red_of(service)["canary"] is None, 60, "the replica has let go of it"
            )
            assert {await versioned(chat, "hello ~") for _ in range(20)} == {(stable, "violet")}
            assert up.condition("tiny", "Ready")["status"] == "True"
            assert red_of(service)["held"]["outcome"] == "RolledBack", "it holds"

            tiny_model.make_adapter(
                service.root / "adapters" / "red-trip", "amber", 1, model=service.root / "model"
            )
            await up.until(
                lambda: up.condition("tiny", "Synced")["status"] == "True",
                60,
                "other weights are a new trial",
            )
            assert red_of(service)["held"] is None
        await saved(service, up, documents("red", "blue"))

    async def test_keys_are_limited_and_an_admin_key_reads_metrics(self, service, up):
        """Models and metrics by key, without a restart."""
        endpoint, before = facts(up)
        keys = [
            {"name": "default"},
            {"name": "ci", "models": ["blue"]},
            {"name": "ops", "admin": True},
        ]
        await saved(service, up, documents("red", "blue", auth={"apiKeys": keys}))
        ops, ci = key(service, "ops"), key(service, "ci")
        await up.until(lambda: status_of(service, endpoint, "/metrics", ops) == 200)
        assert status_of(service, endpoint, "/state", ops) == 200
        assert status_of(service, endpoint, "/v1/models", ops) == 401
        assert status_of(service, endpoint, "/metrics", ci) == 404
        async with Chat(endpoint, ci, service.ca, ("blue",)) as chat:
            assert await chat.ask("blue") == "blue"
            with pytest.raises(openai.PermissionDeniedError):
                await chat.ask("red")
        await saved(service, up, documents("red", "blue"))
        assert starts(facts(up)[1]) == starts(before)

    async def test_a_broken_adapter_changes_nothing(self, service, up):
        """An adapter the engine could not take is reported with its place, and the old one keeps
        answering; the service stays ready.
        """
        endpoint, before = facts(up)
        weights = service.root / "adapters" / "blue" / "adapter_model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[: len(whole) // 2])
        said = await up.until(lambda: unfit(up), 30, "the problem is reported")
        assert "moorage.yaml:" in said
        assert "blue" in said
        assert up.condition("tiny", "Ready")["status"] == "True"
        assert (
            "moorage.yaml:"
            in service.moorage("validate", "-f", str(service.manifest), code=2).stderr
        )
        assert status_of(service, endpoint, "/v1/models", key(service)) == 200
        weights.write_bytes(whole)
        await up.until(lambda: not unfit(up), 30, "the problem is gone")
        await up.converged("tiny")
        assert starts(facts(up)[1]) == starts(before)

    async def test_vllm_killed_comes_back(self, service, up):
        """kill -9 of vLLM: the service is not ready, then serves again, with all adapters."""
        endpoint, before = facts(up)
        async with Chat(endpoint, key(service), service.ca, ("red",)) as chat:
            answer = await chat.ask("red")
        os.kill(machine_pid(service.azure_dir, before["replicas"][0]), signal.SIGKILL)
        await up.until(
            lambda: up.condition("tiny", "Ready")["status"] != "True", 90, "the death is noticed"
        )
        await up.converged("tiny", seconds=BOOT)
        endpoint, after = facts(up)
        assert starts(after) != starts(before)
        async with Chat(endpoint, key(service), service.ca, ("red",)) as chat:
            assert await chat.ask("red") == answer

    async def test_engine_args_roll_out_under_load(self, service, up):
        """A changed engine argument boots a new revision, which takes the weight when it is ready;
        no request fails.
        """
        endpoint, before = facts(up)
        async with Chat(endpoint, key(service), service.ca, ("tiny", "red"), streams=8) as chat:
            answer = await chat.ask("red")
            await saved(
                service, up, documents("red", "blue", args={"max-num-seqs": 16}), seconds=BOOT
            )
            await up.until(lambda: has_rolled(up, before), 60, "the new revision serves alone")
            await chat.more(40)
        assert chat.failures == []
        assert set(chat.seen("red")) == {answer}
        assert starts(facts(up)[1]) != starts(before)
