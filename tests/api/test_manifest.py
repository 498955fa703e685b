"""Loading what is right, and never anything but a ManifestError for what is not."""

import copy
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.api.documents import Environment, InferenceService
from reconciler.api.manifest import ManifestError, load
from reconciler.api.yaml_tree import read_documents

QUICKSTART = """\
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {name: phi}
spec:
  model: {source: ./models/phi}
  adapters: [{name: support, source: share://adapters/support}]
"""


def test_five_lines_are_enough(manifest):
    """Everything else has a default, and what the user set can be told from what was derived."""
    (loaded,) = manifest.load(QUICKSTART).documents
    spec = loaded.document.spec
    assert isinstance(loaded.document, InferenceService)
    assert spec.model_fields_set == {"model", "adapters"}
    assert (spec.environment, spec.scale.min_replicas, spec.scale.max_replicas) == ("default", 0, 1)
    assert [key.name for key in spec.auth.api_keys] == ["default"]
    assert loaded.folder(spec.model.source) == manifest.path / "models" / "phi"
    assert loaded.folder(spec.adapters[0].source) is None
    assert loaded.position(("spec", "adapters", 0, "name")) == (6, 21)
    assert loaded.position(("spec", "scale", "maxReplicas")) == (4, 1)


def test_documents_of_a_folder_in_the_order_of_their_names(manifest):
    """Both endings count, hidden files and other files do not, and several documents may share a
    file.
    """
    folder = manifest.path / "docs"
    folder.mkdir()
    manifest.write(
        "kind: Environment\nmetadata: {name: two}\n---\nkind: Environment\nmetadata: {name:"
        " three}\n",
        "docs/b.yml",
    )
    manifest.write("kind: Environment\nmetadata: {name: one}\n", "docs/a.yaml")
    manifest.write("kind: [", "docs/.hidden.yaml")
    manifest.write("kind: [", "docs/notes.txt")
    documents = load([folder, folder / "a.yaml"]).documents
    assert [loaded.document.metadata.name for loaded in documents] == ["one", "two", "three"]
    assert [loaded.line for loaded in documents] == [1, 1, 4]
    assert all(isinstance(loaded.document, Environment) for loaded in documents)


def test_the_digest_follows_the_content_not_the_text(manifest):
    """Comments, order and spelling of defaults' documents are no change; a value is."""
    first = manifest.load(QUICKSTART).digest
    assert (
        manifest.load("# comment\n" + QUICKSTART.replace("name: phi", 'name: "phi"')).digest
        == first
    )
    assert manifest.load(QUICKSTART + "  scale: {maxReplicas: 2}\n").digest != first


def test_words_are_read_in_any_case_and_regions_in_any_spelling(manifest):
    """Azure answers in one spelling and its portal shows another."""
    documents = manifest.load(
        QUICKSTART + "  rollout: {strategy: bluegreen}\n  deletionPolicy: RETAIN\n---\nkind:"
        " Environment\nmetadata: {name: dev}\nspec: {location: Sweden Central, storage: {sku:"
        " standard_lrs}}\n"
    ).documents
    assert documents[0].document.spec.rollout.strategy == "BlueGreen"
    assert documents[0].document.spec.deletion_policy == "Retain"
    assert documents[1].document.spec.location == "swedencentral"
    assert documents[1].document.spec.storage.sku == "Standard_LRS"


def test_anchors_and_merge_keys(manifest):
    """Moderate repetition is the user's friend; what is written wins over what is merged."""
    text = """\
    kind: InferenceService
    metadata: {name: phi}
    spec:
      model: {source: share://m}
      env:
        - &level {name: LEVEL, value: INFO}
        - {<<: *level, name: OTHER}
    """
    variables = manifest.load(text).documents[0].document.spec.env
    assert [(variable.name, variable.value) for variable in variables] == [
        ("LEVEL", "INFO"),
        ("OTHER", "INFO"),
    ]


def test_a_problem_behind_a_merge_stands_where_it_was_written(manifest):
    """The anchor's own line is the one to correct."""
    problems = manifest.problems(
        "kind: InferenceService\nmetadata: {name: phi}\nspec:\n  model: {source: share://m}\n "
        " env:\n    - &a {name: A, value: 1}\n    - {<<: *a, name: B}\n"
    )
    assert problems == [
        'm.yaml:6:27: spec.env[0].value is the number 1; put it in quotes: "1"',
        'm.yaml:6:27: spec.env[1].value is the number 1; put it in quotes: "1"',
    ]


def test_nothing_after_a_key_means_left_out(manifest):
    """Removing the last item of a list leaves its key behind."""
    spec = manifest.load(
        "kind: InferenceService\nmetadata: {name: phi}\nspec:\n  model: {source: share://m}\n "
        " adapters:\n  engine:\n"
    )
    assert spec.documents[0].document.spec.adapters == ()


def test_yaml_one_point_two_keeps_words_as_text(manifest):
    """`on`, `no` and dates are text, as everywhere but in YAML 1.1."""
    text = (
        "kind: Environment\nmetadata: {name: dev}\nspec: {tags: {a: on, b: no, c: 2026-01-01, d:"
        " 12:30}}\n"
    )
    assert manifest.load(text).documents[0].document.spec.tags == {
        "a": "on",
        "b": "no",
        "c": "2026-01-01",
        "d": "12:30",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "gone.yaml", "gone.yaml: there is no such file or folder"),
        (
            lambda path: (path / "empty").mkdir() or path / "empty",
            "empty: the folder holds no *.yaml or *.yml",
        ),
        (lambda path: Path("x" * 5000), ":1:1: it cannot be read (File name too long)"),
    ],
)
def test_paths_that_hold_nothing(tmp_path, make, message):
    """An unmounted folder and a missing file are problems, never an empty manifest. What is about a
    whole folder has no line.
    """
    with pytest.raises(ManifestError) as caught:
        load([make(tmp_path)])
    assert message in str(caught.value)


def _load_bytes(data):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m.yaml"
        file.write_bytes(data)
        try:
            return load([file])
        except ManifestError as error:
            result = error
    assert result.problems
    assert all(
        problem.line >= 1 and problem.column >= 1 and problem.message for problem in result.problems
    )
    return result


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
YAMLISH = st.lists(
    st.sampled_from(
        [
            *"{}[]:,-?&*!|>'\"%@`#\n\t ~",
            "  ",
            "\n- ",
            ": ",
            "kind",
            "spec",
            "Environment",
            "&a ",
            "*a",
            "<<: ",
            "---\n",
            "...\n",
            "!!int ",
            "%YAML 1.2\n",
            "\\",
            "\x00",
            "\x85",
            "\u2028",
            "\ufeff",
            "0x",
            "1e9",
            "🦆",
        ]
    ),
    max_size=40,
).map("".join)


@FUZZ
@given(YAMLISH | st.text())
@example('a: "\\U00110000"')
@example("%YAML 9.9\n---\na: 1")
@example("? [a]\n: b")
@example("<<: [1]")
def test_any_text_is_a_manifest_or_a_manifest_error(text):
    """No text a person can save ends in a traceback."""
    _load_bytes(text.encode("utf-8", "surrogatepass"))


@FUZZ
@given(st.binary())
def test_any_bytes_are_a_manifest_or_a_manifest_error(data):
    """Nor do bytes that are no text."""
    _load_bytes(data)


FULL = [
    {
        "kind": "Environment",
        "metadata": {"name": "dev", "labels": {"a": "b"}},
        "spec": {
            "location": "swedencentral",
            "tags": {"a": "b"},
            "storage": {"accountName": "stphi01", "quotaGiB": 5},
            "workloadProfiles": [
                {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"}
            ],
            "syncPolicy": {"prune": False},
        },
    },
    {
        "kind": "InferenceService",
        "metadata": {"name": "phi"},
        "spec": {
            "environment": "dev",
            "model": {"source": "share://models/phi"},
            "adapters": [{"name": "a", "source": "share://a"}],
            "engine": {"image": "vllm/vllm-openai:v0.32.0", "args": {"max-model-len": 4096}},
            "env": [{"name": "A", "value": "b"}],
            "resources": {"cpu": 24, "memory": "220Gi"},
            "workloadProfileName": "gpu",
            "scale": {"minReplicas": 0, "maxReplicas": 2},
            "auth": {"apiKeys": [{"name": "default"}]},
        },
    },
]
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["hf://", "share://", "./x\0", "~", "-1"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=3,
)


def _places(value, path=()):
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from _places(inner, (*path, key))


@FUZZ
@given(st.sampled_from([place for place in _places(FULL) if place]), ODD, st.booleans())
def test_any_value_in_any_place_is_a_manifest_or_a_manifest_error(place, value, remove):
    """A valid document with one thing exchanged or removed is valid or has a problem with a place;
    never a crash.
    """
    documents = copy.deepcopy(FULL)
    holder = documents
    for step in place[:-1]:
        holder = holder[step]
    if remove:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    with tempfile.TemporaryFile() as stream:
        YAML(typ="safe", pure=True).dump_all(documents, stream)
        stream.seek(0)
        _load_bytes(stream.read())


def test_the_whole_example_is_valid():
    """The starting point of the test above."""
    with tempfile.TemporaryFile() as stream:
        YAML(typ="safe", pure=True).dump_all(FULL, stream)
        stream.seek(0)
        assert not isinstance(_load_bytes(stream.read()), ManifestError)


def test_only_changed_files_are_read_again(manifest):
    """With a memory the documents of unchanged files are the same objects; a broken file is
    remembered in no way.
    """
    folder, known = manifest.path / "docs", {}
    folder.mkdir()
    one = manifest.write("kind: Environment\nmetadata: {name: one}\n", "docs/a.yaml")
    manifest.write("kind: Environment\nmetadata: {name: two}\n", "docs/b.yaml")
    first = load([folder], known).documents
    manifest.write("kind: Environment\nmetadata: {name: other}\n", "docs/b.yaml")
    second = load([folder], known).documents
    assert second[0] is first[0]
    assert [loaded.document.metadata.name for loaded in second] == ["one", "other"]
    manifest.write("kind: Environment\nmetadata: {name: [}\n", "docs/b.yaml")
    for _ in range(2):
        with pytest.raises(ManifestError):
            load([folder], known)
    one.unlink()
    manifest.write("kind: Environment\nmetadata: {name: other}\n", "docs/b.yaml")
    assert load([folder], known).documents == second[1:]
    assert [path.name for path in known] == ["b.yaml"]


def test_values_that_hold_nothing_share_what_is_empty():
    """A daemon keeps the nodes of all documents; most of them are numbers and texts."""
    text = b"a: {x: 1, y: [2, 3]}\nb: &one {z: 4}\nc: {<<: *one, w: 5}\nd: {}\n"
    problems = []
    (node,) = read_documents(Path("a.yaml"), text, problems)
    assert problems == []
    assert node.plain() == {
        "a": {"x": 1, "y": [2, 3]},
        "b": {"z": 4},
        "c": {"w": 5, "z": 4},
        "d": {},
    }
    one, listed, empty = (node.at(path) for path in (("a", "x"), ("a", "y"), ("d",)))
    assert one.entries is listed.entries is node.at(("b", "z")).entries
    assert one.entries == {}
    assert empty.entries is not one.entries
