"""`inference.parameters.json`, `inference.config.json` and their fine-tuning siblings, under every
path and spelling that AI Toolkit's documents use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.api import names
from reconciler.api.problems import Problem
from reconciler.api.yaml_node import NodeKind
from reconciler.toolkit.json_files import (
    Check,
    Value,
    Values,
    count,
    known_values,
    read_object,
    seconds,
    text,
    texts,
)

CONFIG = "infra/inference.config.json"
CONFIG_KEYS = (
    "SUBSCRIPTION_ID",
    "RESOURCE_GROUP_NAME",
    "STORAGE_ACCOUNT_NAME",
    "FILE_SHARE_NAME",
    "ACA_APP_NAME",
    "ACA_APP_ENDPOINT",
)
_FOLDERS = ("infra/provision", "infra", "provision", ".")
_PARAMETER_FILES = ("inference.parameters.json", "inference.parameter.json")
_TUNING_PARAMETER_FILES = (
    "finetuning.parameters.json",
    "finetune.parameters.json",
    "fintuning.parameters.json",
)
_CONFIG_FILES = ("inference.config.json",)
_TUNING_CONFIG_FILES = ("finetuning.config.json", "finetune.config.json", "fintuning.config.json")


def _named(rule: names.NameRule) -> Check:
    def check(value: Any) -> str:
        return text(value) or (
            ""
            if rule.accepts(value)
            else f"is {value!r}, which cannot be {rule.what}: it takes {rule.says}"
        )

    return check


_SHARED: Mapping[str, Check] = {
    "defaultCommands": texts,
    "maximumInstanceCount": count,
    "location": text,
    "storageAccountName": _named(names.STORAGE_ACCOUNT),
    "fileShareName": _named(names.FILE_SHARE),
    "acaEnvironmentName": _named(names.MANAGED_ENVIRONMENT),
    "acaEnvironmentStorageName": _named(names.ENVIRONMENT_STORAGE),
    "acaLogAnalyticsName": _named(names.WORKSPACE),
    "resourceSuffix": text,
}
_INFERENCE: Mapping[str, Check] = {**_SHARED, "acaAppName": _named(names.CONTAINER_APP)}
_TUNING: Mapping[str, Check] = {**_SHARED, "timeout": seconds, "acaJobName": text}
_CONFIG_CHECKS: Mapping[str, Check] = dict.fromkeys(CONFIG_KEYS, text)
_TUNING_CONFIG_CHECKS: Mapping[str, Check] = {
    **dict.fromkeys((*CONFIG_KEYS[:4], "ACA_JOB_NAME", "LOG_ANALYTICS_NAME"), text),
    "COMMANDS": texts,
    "ARGS": texts,
}
# The name of a parameter in a configuration file.
SAME = {
    "STORAGE_ACCOUNT_NAME": "storageAccountName",
    "FILE_SHARE_NAME": "fileShareName",
    "ACA_APP_NAME": "acaAppName",
}


@dataclass(frozen=True)
class SettingsFiles:
    """What the files say. `parameters` and `config` are of inference, `tuning*` of fine-tuning;
    `read` are all the files.
    """

    parameters: Values = field(default_factory=dict)
    config: Values = field(default_factory=dict)
    tuning: Values = field(default_factory=dict)
    tuning_config: Values = field(default_factory=dict)
    read: tuple[Path, ...] = ()

    def name(self, parameter: str) -> Value | None:
        """The name of a resource from the inference files, or else from the fine-tuning files,
        which share all resources but the container app.
        """
        configured = next((key for key, same in SAME.items() if same == parameter), "")
        return (
            self.parameters.get(parameter)
            or self.config.get(configured)
            or self.tuning.get(parameter)
            or self.tuning_config.get(
                "LOG_ANALYTICS_NAME" if parameter == "acaLogAnalyticsName" else configured
            )
        )

    def place(self, key: str) -> Value | None:
        """SUBSCRIPTION_ID or RESOURCE_GROUP_NAME."""
        return self.config.get(key) or self.tuning_config.get(key)


def read_settings(root: Path, problems: list[Problem]) -> SettingsFiles:
    """Read the files that exist; errors go to `problems`."""
    parameters = _first(root, _PARAMETER_FILES)
    tuning = _first(root, _TUNING_PARAMETER_FILES)
    config = _first(root, _CONFIG_FILES)
    tuning_config = _first(root, _TUNING_CONFIG_FILES)
    if parameters is None and tuning is not None and not _is_tuning(tuning):
        parameters, tuning = tuning, None  # the documents show inference parameters under this name
    found = SettingsFiles(
        parameters=_parameters(parameters, _INFERENCE, problems),
        config=_config(config, _CONFIG_CHECKS, problems),
        tuning=_parameters(tuning, _TUNING, problems),
        tuning_config=_config(tuning_config, _TUNING_CONFIG_CHECKS, problems),
        read=tuple(file for file in (parameters, config, tuning, tuning_config) if file),
    )
    problems += _half_filled(config, found.config)
    problems += _contradictions(found)
    return found


def read_config(file: Path, problems: list[Problem]) -> dict[str, Value]:
    """`inference.config.json` alone: complete, or empty."""
    values = _config(file, _CONFIG_CHECKS, problems)
    problems += _half_filled(file, values)
    return values


def config_file(root: Path) -> Path | None:
    return _first(root, _CONFIG_FILES)


def _first(root: Path, file_names: Sequence[str]) -> Path | None:
    return next(
        (
            root / folder / name
            for folder in _FOLDERS
            for name in file_names
            if (root / folder / name).is_file()
        ),
        None,
    )


def _is_tuning(file: Path) -> bool:
    node = read_object(file, [])
    inner = node.at(("parameters",)) if node else None
    return inner is None or bool({"acaJobName", "timeout"} & inner.entries.keys())


def _parameters(
    file: Path | None, checks: Mapping[str, Check], problems: list[Problem]
) -> dict[str, Value]:
    node = read_object(file, problems) if file else None
    if file is None or node is None:
        return {}
    inner = node.at(("parameters",))
    if inner is None or inner.kind is not NodeKind.MAPPING:
        problems.append(
            Problem(
                file,
                *node.find(("parameters",)),
                "the object 'parameters' is missing",
                "see the template",
            )
        )
        return {}
    for key, (mark, entry) in [*inner.entries.items()]:
        if entry.kind is not NodeKind.MAPPING or "value" not in entry.entries:
            problems.append(
                Problem(
                    file, *entry.position, f"{key} has no value", f'write "{key}": {{"value": ...}}'
                )
            )
            del inner.entries[key]
        else:
            inner.entries[key] = (mark, entry.entries["value"][1])
    return known_values(file, inner, checks, "parameter", problems)


def _config(
    file: Path | None, checks: Mapping[str, Check], problems: list[Problem]
) -> dict[str, Value]:
    node = read_object(file, problems) if file else None
    if file is None or node is None:
        return {}
    for key, (mark, entry) in [*node.entries.items()]:
        if entry.scalar == "" and entry.kind is NodeKind.SCALAR:
            entry.scalar = None  # an empty text counts as null
            node.entries[key] = (mark, entry)
    return known_values(file, node, checks, "key", problems)


def _half_filled(file: Path | None, values: Values) -> list[Problem]:
    needed = CONFIG_KEYS[:5]  # the endpoint follows from them
    missing = [key for key in needed if key not in values]
    if file is None or not missing or len(missing) == len(needed):
        return []
    node = read_object(file, [])
    mark = node.find((missing[0],)) if node else (1, 1)
    filled = ", ".join(key for key in needed if key in values)
    return [
        Problem(
            file,
            *mark,
            f"{', '.join(missing)} not filled in, but {filled}",
            "fill in all of them, or none",
        )
    ]


def _contradictions(found: SettingsFiles) -> list[Problem]:
    """Refuse two files that name different resources for the same purpose: Moorage cannot know
    which one is right, and each costs money.
    """
    return [
        there.problem(
            f"{key} is {there.value!r}, but {here.place} says {parameter} is {here.value!r}",
            "write the same in both",
        )
        for key, parameter in SAME.items()
        if (there := found.config.get(key))
        and (here := found.parameters.get(parameter))
        and there.value != here.value
    ]
