"""The report of `moorage import` in a few lines: the values that it read, derived and found, and
what the user may want to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.toolkit.choice import DEDICATED, DEDICATED_REGIONS, PORT, Choice, adapter_faults

Line = tuple[str, str]
ADOPTION = (
    "its current revision answers until the one of this file serves; from then on it is in Multiple"
    " mode; `moorage down` releases it without deleting it"
)
ENGINE_RANK = 16  # vLLM's own default of max-lora-rank


def lines(choice: Choice, notes: Sequence[str]) -> Iterator[Line]:
    """Pairs of a label and a sentence."""
    files = choice.project.settings
    yield "took", ", ".join(str(file.relative_to(choice.project.root)) for file in files.read)
    yield "", f"base model {_shown(choice.model, choice.model_here)}"
    for adapter in choice.adapters:
        rank = f", rank {adapter.rank}" if adapter.rank else ""
        yield "", f"adapter {adapter.name}: {_shown(adapter.source, adapter.here)}{rank}"
    if choice.engine == "code":
        count = len(files.parameters["defaultCommands"].value)
        yield (
            "",
            f"the web API in inference/: {count} commands in {choice.project.image}, port {PORT}",
        )
    yield from (
        ("found", f"in {choice.existing.group}: {', '.join(choice.existing.found)}")
        for _ in choice.existing.found[:1]
    )
    yield from (("note", note) for note in notes)
    if choice.existing.adopts:
        yield "takes over", f"{choice.name}, which Moorage did not create: {ADOPTION}"
    yield "derived", f"service and Environment {choice.name}; {_profile(choice)}"
    yield from (("recommend", text) for text in recommendations(choice))


def recommendations(choice: Choice) -> Iterator[str]:
    """Notes on what to change, the most costly first."""
    project = choice.project
    if choice.existing.foreign_app and not choice.existing.adopts:
        yield (
            f"{choice.name} exists, Moorage did not create it and leaves it alone. To take it"
            " over, set"
            " adoptionPolicy: AdoptOrCreate (it must be in the environment above); to create"
            " another"
            " app, use --name; to publish code to it and restart it, use `moorage deploy` without"
            " documents"
        )
    if choice.engine == "code":
        yield (
            "one replica is billed round the clock; scale.minReplicas: 0 costs nothing while there"
            " are no"
            " requests"
        )
        yield (
            "anyone who knows the address can use it without a key; with --engine vllm a key is"
            " required"
        )
        if any(
            "pip install" in command
            for command in project.settings.parameters["defaultCommands"].value
        ):
            yield (
                "pip runs for minutes at every start; put the packages into an image"
                " (engine.image), or use --engine vllm"
            )
    if choice.engine == "code" and project.code_adapter and not choice.adapters:
        yield (
            f"the code reads {project.code_adapter}, which does not exist here; without it the code"
            " silently serves the base model"
        )
    for adapter in choice.adapters:
        yield from _of_adapter(choice, adapter.source, adapter.rank, here=adapter.here)
    for place, text in project.placeholders[:3] if choice.engine == "code" else ():
        yield f"{place} still contains {text}, which the template expects to be filled in"
    if (
        not choice.model_here
        and (choice.model or "").startswith("share://")
        and choice.existing.model is None
    ):
        yield (
            f"{choice.model} does not exist yet; nothing starts until fine-tuning or you put it"
            " there"
        )


def _of_adapter(choice: Choice, source: str, rank: int, *, here: bool) -> Iterator[str]:
    project, path = choice.project, source.removeprefix("share://")
    if choice.engine == "vllm":
        if rank > ENGINE_RANK:
            yield (
                f"rank {rank} is higher than the engine's default of {ENGINE_RANK}; Moorage raises"
                " max-lora-rank"
            )
        return
    if project.code_adapter and path != project.code_adapter:
        yield (
            f"the code reads {project.code_adapter} and the adapter is in {path}; it is mounted"
            " where"
            " the code reads it"
        )
    if here:
        _, said, _ = adapter_faults(project.root / source, None, engine="code")
        yield from (f"--engine vllm would refuse this adapter: {text}" for text in said[:1])


def _profile(choice: Choice) -> str:
    profile, count = choice.profile, choice.instances
    title = f"workload profile {profile['name']} ({profile['workloadProfileType']})"
    if (
        "maximumCount" in profile
        and "maximumInstanceCount" not in choice.project.settings.parameters
    ):
        return f"{title}, at most {profile['maximumCount']} nodes"
    if "maximumCount" in profile:
        return f"{title}, at most {count} nodes (maximumInstanceCount)"
    if choice.engine == "vllm":
        return (
            f"{title}, at most {count} replicas (maximumInstanceCount), none while there are no"
            " requests"
        )
    where = (
        ""
        if choice.existing.profiles
        else f"; {DEDICATED} nodes are only in {', '.join(DEDICATED_REGIONS)}"
    )
    return f"{title}, which has no nodes, so maximumInstanceCount {count} does not apply{where}"


def _shown(source: str | None, here: bool) -> str:
    return "(not named)" if source is None else f"./{source}" if here else source
