"""The report of `moorage import` in a few lines: the values that it read, derived and found, and
what the user may want to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.toolkit.choice import DEDICATED, DEDICATED_REGIONS, PORT, Choice, adapter_faults

Line = tuple[str, str]
ADOPTION = (
    "it answers until this file's revision serves, runs in Multiple mode from then on, and `moorage"
    " down` releases it as it is"
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
        yield "takes over", f"{choice.name}, made by somebody else: {ADOPTION}"
    yield "derived", f"service and Environment {choice.name}; {_profile(choice)}"
    yield from (("recommend", text) for text in recommendations(choice))


def recommendations(choice: Choice) -> Iterator[str]:
    """Notes on what to change, the most costly first."""
    project = choice.project
    if choice.existing.foreign_app and not choice.existing.adopts:
        yield (
            f"{choice.name} exists and was not made by Moorage, which leaves it alone:"
            " adoptionPolicy: AdoptOrCreate takes it over, if it is in the environment above;"
            " --name gives another name; `moorage deploy`, without documents, publishes code and"
            " restarts it"
        )
    if choice.engine == "code":
        yield (
            "one replica is billed round the clock: scale.minReplicas: 0 costs nothing while nobody"
            " asks"
        )
        yield (
            "anyone who knows the address can use it, no key is asked for: --engine vllm asks"
            " for one"
        )
        if any(
            "pip install" in command
            for command in project.settings.parameters["defaultCommands"].value
        ):
            yield (
                "pip runs at every start, for minutes: put the packages into an image"
                " (engine.image), or take --engine vllm"
            )
    if choice.engine == "code" and project.code_adapter and not choice.adapters:
        yield (
            f"the code looks for {project.code_adapter}, which is not here: it serves the base"
            " model and does not say so"
        )
    for adapter in choice.adapters:
        yield from _of_adapter(choice, adapter.source, adapter.rank, here=adapter.here)
    for place, text in project.placeholders[:3] if choice.engine == "code" else ():
        yield f"{place} still has {text} in it, which the template wants filled in"
    if (
        not choice.model_here
        and (choice.model or "").startswith("share://")
        and choice.existing.model is None
    ):
        yield (
            f"{choice.model} was not seen yet: until fine-tuning or you put it there, nothing is"
            " started"
        )


def _of_adapter(choice: Choice, source: str, rank: int, *, here: bool) -> Iterator[str]:
    project, path = choice.project, source.removeprefix("share://")
    if choice.engine == "vllm":
        if rank > ENGINE_RANK:
            yield (
                f"rank {rank} is beyond the engine's default of {ENGINE_RANK}: Moorage raises"
                " max-lora-rank for it"
            )
        return
    if project.code_adapter and path != project.code_adapter:
        yield (
            f"the code looks in {project.code_adapter}, the adapter is in {path}: it is mounted"
            " where the code looks"
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
        return f"{title}, at most {count} nodes as maximumInstanceCount says"
    if choice.engine == "vllm":
        return (
            f"{title}, at most {count} replicas as maximumInstanceCount says, none while nobody"
            " asks"
        )
    where = (
        ""
        if choice.existing.profiles
        else f"; {DEDICATED} nodes are only in {', '.join(DEDICATED_REGIONS)}"
    )
    return f"{title}, which has no nodes for maximumInstanceCount {count} to count{where}"


def _shown(source: str | None, here: bool) -> str:
    return "(not named)" if source is None else f"./{source}" if here else source
