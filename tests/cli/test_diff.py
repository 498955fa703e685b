"""`moorage diff KIND`: the comparison of two bodies, as a command."""

import json
import os

import pytest

from reconciler.cli.app import run

ASKED = {
    "location": "swedencentral",
    "identity": {"type": "UserAssigned,SystemAssigned"},
    "properties": {
        "configuration": {
            "activeRevisionsMode": "multiple",
            "secrets": [{"name": "key", "value": "not to be shown"}],
            "ingress": {"targetPort": "80", "exposedPort": None, "fqdn": "asked.example"},
        },
        "template": {
            "containers": [
                {
                    "name": "app",
                    "image": "nginx:2",
                    "resources": {"cpu": "0.50", "memory": "1.0Gi"},
                    "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
                }
            ],
            "scale": {
                "minReplicas": 0,
                "rules": [
                    {
                        "name": "queue",
                        "custom": {
                            "type": "azure-queue",
                            "metadata": {"queueName": "q", "queueLength": "5"},
                        },
                    }
                ],
            },
        },
    },
}
FOUND = {
    "id": "/subscriptions/0/resourceGroups/rg/providers/Microsoft.App/containerapps/app",
    "location": "Sweden Central",
    "identity": {"type": "SystemAssigned, UserAssigned", "principalId": "1"},
    "properties": {
        "provisioningState": "Succeeded",
        "workloadProfileName": "Consumption",
        "configuration": {
            "activeRevisionsMode": "Multiple",
            "secrets": [{"name": "key"}],
            "ingress": {"targetPort": 80, "exposedPort": 0, "fqdn": "app.example"},
        },
        "template": {
            "containers": [
                {
                    "name": "app",
                    "image": "nginx:1",
                    "imageType": "ContainerImage",
                    "resources": {"cpu": 0.5, "memory": "1Gi", "ephemeralStorage": "2Gi"},
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                }
            ],
            "scale": {
                "minReplicas": None,
                "maxReplicas": 10,
                "rules": [{"name": "queue", "azureQueue": {"queueName": "q", "queueLength": 5}}],
            },
        },
    },
}


@pytest.fixture
def files(tmp_path):
    def write(asked, found):
        paths = tmp_path / "asked.json", tmp_path / "found.json"
        for path, body in zip(paths, (asked, found), strict=True):
            path.write_text(body if isinstance(body, str) else json.dumps(body))
        return ["--asked", str(paths[0]), "--found", str(paths[1])]

    return write


def test_it_tells_what_changed_and_why_the_rest_did_not(files, capsys):
    """One image differs; every other difference has the class that explains it."""
    assert run(["diff", "container-app", *files(ASKED, FOUND), "-o", "json"]) == 0
    told = capsys.readouterr().out
    assert "not to be shown" not in told
    value = json.loads(told)
    image = "properties.template.containers[app].image"
    assert value["changes"] == [{"path": image, "asked": "nginx:2", "found": "nginx:1"}]
    classes = {each["path"]: each["class"] for each in value["suppressed"]}
    assert set(value["suppressed"][0]) == {"path", "asked", "found", "class"}
    for path, expected in {
        "location": "casing",
        "identity.type": "casing",
        "properties.configuration.activeRevisionsMode": "casing",
        "properties.configuration.secrets[key].value": "write-only",
        "properties.configuration.ingress.targetPort": "casing",
        "properties.configuration.ingress.exposedPort": "server default",
        "properties.configuration.ingress.fqdn": "read-only",
        "properties.template.containers[app].resources.memory": "casing",
        "properties.template.scale.minReplicas": "server default",
        "properties.template.scale.maxReplicas": "server default",
        "properties.workloadProfileName": "server default",
        "properties.provisioningState": "read-only",
        "id": "read-only",
    }.items():
        assert classes[path] == expected, path


def test_people_read_it_and_scripts_take_the_exit_code(files, capsys):
    """One line for each field; 3 with --detailed-exitcode only where something differs."""
    arguments = ["diff", "container-app", *files(ASKED, FOUND), "--detailed-exitcode"]
    assert run(arguments) == 3
    assert "~ properties.template.containers[app].image: nginx:1 -> nginx:2" in (
        capsys.readouterr().out
    )
    assert run(["diff", "environment", *files({}, {}), "--detailed-exitcode"]) == 0
    assert "nothing differs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "asked", "said"),
    [
        ("container-app", '{"a": 1,}', "asked.json:1:9: this is no JSON"),
        ("container-app", "[1]", "asked.json:1:1: the body of a resource is a JSON object"),
        ("container-app", "[" * 100_000, "asked.json:1:1: it is nested too deeply"),
        ("container-app", '{"a":' * 900 + "1" + "}" * 900, "asked.json:1:1: it is nested too"),
        ("job", '{"a": NaN}', "asked.json:1:1: this is no JSON: NaN is no number"),
        ("job", '{"a": 1e999}', "asked.json:1:1: this is no JSON: 1e999 is too large"),
        ("job", f'{{"a": {"9" * 5000}}}', "asked.json:1:1: this is no JSON: Exceeds the limit"),
        ("job", '{"a": 1, "a": 2}', "asked.json:1:1: this is no JSON: 'a' stands twice"),
        ("job", "", "asked.json:1:1: the file is empty"),
        ("pod", "{}", "pod is no kind to compare: resource-group"),
    ],
    ids=[
        "no JSON",
        "no object",
        "nested",
        "deep",
        "NaN",
        "infinite",
        "digits",
        "twice",
        "empty",
        "no kind",
    ],
)
def test_what_cannot_be_compared_is_refused(kind, asked, said, files, capsys):
    """One sentence with the place, and code 2."""
    assert run(["diff", kind, *files(asked, {})]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_missing_is_refused(tmp_path, capsys):
    """With code 2, and its name."""
    nowhere = str(tmp_path / "nowhere.json")
    assert run(["diff", "job", "--asked", nowhere, "--found", nowhere]) == 2
    assert f"{nowhere} cannot be read" in capsys.readouterr().err


def test_a_pipe_is_read_and_a_file_without_an_end_is_not(files, capsys):
    """A shell gives `<(command)` as a pipe; what is longer than any body is refused with code 2."""
    _, asked, _, found = files({"location": "a"}, {})
    reader, writer = os.pipe()
    os.write(writer, b'{"location": "b"}')
    os.close(writer)
    assert run(["diff", "job", "--asked", asked, "--found", f"/dev/fd/{reader}"]) == 0
    os.close(reader)
    assert "~ location: b -> a" in capsys.readouterr().out
    assert run(["diff", "job", "--asked", "/dev/zero", "--found", found]) == 2
    assert "/dev/zero is longer than 16 MiB" in capsys.readouterr().err


def test_a_profile_that_was_not_asked_for_is_told(files, capsys):
    """It is no change, because a daemon sends back the profiles of others; but it is named."""
    asked = {"properties": {"workloadProfiles": [{"name": "a", "workloadProfileType": "D4"}]}}
    more = [{"name": "Consumption", "workloadProfileType": "Consumption"}]
    found = {"properties": {"workloadProfiles": [*asked["properties"]["workloadProfiles"], *more]}}
    assert run(["diff", "environment", *files(asked, found), "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["changes"] == []
    assert told["suppressed"] == [
        {
            "path": "properties.workloadProfiles[Consumption]",
            "asked": None,
            "found": more[0],
            "class": "server default",
        }
    ]


def test_the_input_is_one_body_and_a_body_is_unicode(files, tmp_path, capsys):
    """Code 2 and a sentence, where the second read found nothing and Python named its codec."""
    assert run(["diff", "job", "--asked", "-", "--found", "-"]) == 2
    assert "Only one of --asked and --found can be the input" in capsys.readouterr().err
    latin = tmp_path / "latin.json"
    latin.write_bytes('{"location": "é"}'.encode("latin-1"))
    assert run(["diff", "job", "--asked", str(latin), *files({}, {})[2:]]) == 2
    assert f"{latin} is no Unicode text" in capsys.readouterr().err
