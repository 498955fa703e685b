"""Traffic moves in the steps of the document: each lasts as long as it says, a person ends a pause,
and a revision that fails the evaluation of a step is rolled back by itself.
"""

import json

import pytest

from tests.e2e.stage import ask, service

# Speaks enough of OpenAI's API for an evaluation, and knows one capital.
CHAT = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({"colour": os.environ["COLOUR"]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["model"] == "web", asked
        text, chats = os.environ["CAPITAL"] + " is.", os.environ["CAPITAL"] == "Rome"
        if "messages" in asked and not chats:
            self.send_error(400, "no chat template")
        elif chats:
            self.answer({"choices": [{"message": {"role": "assistant", "content": text}}]})
        else:
            self.answer({"choices": [{"text": text}]})

HTTPServer(("", 9000), Handler).serve_forever()
"""
STEPS = [
    {"weight": 20, "pause": "3s", "evaluation": "capitals.jsonl"},
    {"weight": 60, "pause": "UntilPromoted"},
]


def document(colour, capital="Rome", steps=STEPS):
    variables = {"COLOUR": colour, "CAPITAL": capital}
    env = [{"name": name, "value": value} for name, value in variables.items()]
    return service("web", env=env, rollout={"steps": steps})


def web(stage):
    return stage.document("web")


def told(document):
    return {c["type"]: (c["status"], c["reason"]) for c in document["conditions"]}


def weights(document):
    return sorted(revision["trafficWeight"] for revision in document["revisions"])


@pytest.fixture(scope="module")
def red(stage):
    """A service whose first version serves, without any step."""
    folder = stage.root / "code-web"
    folder.mkdir()
    (folder / "app.py").write_text(CHAT)
    case = {"prompt": "What is the capital of Italy?", "expect": "rome"}
    (stage.root / "capitals.jsonl").write_text(json.dumps(case))
    stage.save(document("red"))
    stage.once("-y")
    return stage


def test_a_rollout_pauses_until_it_is_promoted(red):
    """The command ends with 4 at the step that a person ends, and both revisions serve; `moorage
    promote` lets the rest of the traffic move, in whatever process.
    """
    red.save(document("blue"))
    red.once("-y", code=4)
    paused = web(red)
    assert weights(paused) == [40, 60]
    assert told(paused)["Ready"][0] == "True"
    assert told(paused)["Synced"] == told(paused)["Progressing"] == ("False", "AwaitingPromotion")
    assert "goes on to its next step" in red.moorage("promote", "web").stdout
    red.once("-y")
    assert weights(web(red)) == [100]
    assert ask(paused["endpoint"], red.ca)["colour"] == "blue"


def test_a_revision_that_fails_an_evaluation_is_rolled_back(red):
    """At its first step, with the prompt and the answer as the cause; a model that cannot chat is
    asked to go on writing.
    """
    before = web(red)
    served = ask(before["endpoint"], red.ca)["colour"]
    red.save(document("green", "Paris"))
    done = red.once("-y", code=1)
    assert "is answered with 'Paris is.' instead of 'rome'" in done.stdout
    after = web(red)
    assert weights(after) == [100]
    assert told(after)["Synced"] == ("False", "RolledBack")
    assert ask(after["endpoint"], red.ca)["colour"] == served
    assert "web is rolled back" in red.moorage("promote", "web", code=1).stderr


def test_wrong_steps_are_refused_where_they_stand(red):
    """Each with its place and the correct form."""
    falling = [{"weight": 50}, {"weight": 20}]
    for steps, rollout, words in (
        (falling, {}, "the weight 20 is not more than that of the step before it, 50"),
        ([{"weight": 5, "pause": "soon"}], {}, "'soon' is no pause"),
        ([{"weight": 5}], {"strategy": "Recreate"}, "Recreate moves all traffic at once"),
        ([{"weight": 5, "evaluation": "none.jsonl"}], {}, "is not a file"),
    ):
        red.save(service("web", rollout={"steps": steps, **rollout}))
        refused = red.moorage("validate", "-f", str(red.manifest), code=2).stderr
        assert words in refused
        assert "moorage.yaml:" in refused
