"""The documents of a tiny model's service, and what its daemon, its endpoint and the command say of
it.
"""

import ssl
import urllib.error
import urllib.request

import openai

BOOT = 400.0  # seconds that a start of vLLM may take on two busy cores


def documents(*adapters, keys=("default",), args=None, **spec):
    return {
        "apiVersion": "moorage.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "tiny"},
        "spec": {
            "model": {"source": "./model"},
            "adapters": [{"name": name, "source": f"./adapters/{name}"} for name in adapters],
            "engine": {"args": {"max-model-len": 512, **(args or {})}},
            "scale": {"minReplicas": 1, "maxReplicas": 1},
            "auth": {"apiKeys": [{"name": name} for name in keys]},
            "terminationGracePeriodSeconds": 30,
            **spec,
        },
    }


def facts(up):
    document = up.document("tiny")
    return document["endpoint"], document


async def saved(stage, up, document, seconds=60.0):
    """Save, and wait until the daemon has taken the new version and made it true."""
    before = up.document("tiny")["generation"]
    stage.save(document)
    await up.until(lambda: up.document("tiny")["generation"] > before, 20, "the save is noticed")
    await up.converged("tiny", seconds=seconds)


def starts(document):
    """The replicas and when their processes started; their numbers are the same after a restart."""
    return {(row["name"], row["startedAt"]) for row in document["replicas"]}


def key(stage, name="default"):
    return stage.moorage("key", "tiny", "--name", name).stdout.strip()


def status_of(stage, endpoint, path, token=None):
    """The HTTP status that a route of the service answers with."""
    request = urllib.request.Request(
        endpoint + path, headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    try:
        with urllib.request.urlopen(
            request, context=ssl.create_default_context(cafile=stage.ca), timeout=90
        ) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def with_canary(**options):
    canary = {"source": "./adapters/red-next", **options}
    red = {"name": "red", "source": "./adapters/red", "canary": canary}
    return documents(adapters=[red, {"name": "blue", "source": "./adapters/blue"}])


async def versioned(chat, content):
    """Which version answered and what; the status where it failed."""
    question = {
        "model": "red",
        "max_tokens": 4,
        "temperature": 0,
        "messages": [{"role": "user", "content": content}],
    }
    try:
        raw = await chat.client.chat.completions.with_raw_response.create(**question)
    except openai.APIStatusError as error:
        return error.response.headers.get("x-moorage-adapter-version"), str(error.status_code)
    return (
        raw.headers["x-moorage-adapter-version"],
        (raw.parse().choices[0].message.content or "").strip(),
    )


def red_of(stage):
    return next(row for row in adapters(stage) if row["name"] == "red")


def adapters(stage):
    return stage.json("adapter", "list", "tiny")["adapters"]


def versions_in(document, adapter):
    return {
        a["digest"] for row in document["replicas"] for a in row["adapters"] if a["name"] == adapter
    }


def versions(up, adapter):
    return versions_in(up.document("tiny"), adapter)


def has_rolled(up, before):
    names = [r["name"] for r in up.document("tiny")["revisions"]]
    return len(names) == 1 and names[0] != before["revisions"][0]["name"]
