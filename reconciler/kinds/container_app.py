"""Microsoft.App/containerApps: a service's revisions, traffic, ingress and API keys.

`rollout` decides the next step, `replicas` looks at what runs, `adoption` says what is asked of an
app that was there before; this file observes the app and issues the one write.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.kinds import Kind
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps, ids, tags
from reconciler.engine.diff import Rules, diff
from reconciler.engine.errors import NotReadyYet, TerminalError
from reconciler.engine.external import (
    Change,
    Desired,
    Facts,
    Mark,
    ObjectKey,
    Observation,
    Origin,
    Wrote,
)
from reconciler.kinds import adoption, app_changes, rollout
from reconciler.kinds.arm_resource import SETTLED, ArmResource
from reconciler.kinds.connections import Connections
from reconciler.kinds.endpoint import reach
from reconciler.kinds.quota import resolve_strategy
from reconciler.kinds.replicas import Seen
from reconciler.kinds.rollout import Action, Step

KEY_PREFIX = "api-key-"


NOTHING = Step(Action.NONE)


@dataclass(frozen=True)
class AppObservation(Observation):
    """An observation that remembers the rollout step its changes stand for, so that `update` does
    just that.

    `traffic` is to be held like this before any template is written; `alone` says that the
    configuration goes without one.
    """

    step: Step = NOTHING
    configuration: tuple[Change, ...] = ()
    traffic: list[dict[str, Any]] | None = None
    alone: bool = False


class ContainerApp(ArmResource):
    """An app in Multiple mode with explicit weights: made like that, or brought there when it is
    adopted.
    """

    name = Kind.APP
    rules = Rules(
        ignore_case=(
            "location",
            "properties.configuration.ingress.transport",
            "properties.configuration.activeRevisionsMode",
        ),
        ignored=("properties.configuration.ingress.traffic",),
    )

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.looks = connections.looks

    async def observe(self, desired: Desired, facts: Facts) -> Observation:
        spec: ContainerAppSpec = desired.spec
        found = await self.find(spec)
        if found is None:
            return Observation(
                exists=False,
                marks=(
                    Mark(
                        ConditionType.PROVISIONED,
                        Status.FALSE,
                        Reason.MISSING,
                        "the container app does not exist",
                    ),
                ),
            )
        self._refuse_move(spec, found, facts)
        before = facts.last(desired.key)
        origin = adoption.origin_of(spec, found, self.owner_of(spec.environment), before)
        changes = diff(adoption.asked(spec, found, origin), found, self.rules)
        self._refuse_immutable(spec, changes)
        state = self.state(found)
        if state not in SETTLED:
            return Observation(
                exists=True,
                busy=True,
                reason=Reason.OPERATION_IN_PROGRESS,
                message=f"Azure reports {state}",
                poll_after=0.5,
                outputs=before,
                origin=origin,
            )
        catalogue = facts.last(ObjectKey(Kind.CATALOGUE, spec.service)) if spec.serves_model else {}
        # Nothing of somebody else's app reports to the share, and the share may not be there yet.
        watched = replace(spec, engine=None) if origin is Origin.FOREIGN else spec
        seen = await self.looks.look(watched, found, before, catalogue)
        strategy = await resolve_strategy(self.arm, spec, found, seen.revisions)
        if strategy == "BlueGreen" and any(change.path == app_changes.PORT for change in changes):
            # all revisions share the port, so two with different ones cannot share the traffic
            strategy = "Surge"
        step = rollout.next_step(
            spec.revision, strategy, seen.revisions, app_changes.weights_of(found)
        )
        held = adoption.held_traffic(found)
        later = (
            *app_changes.with_the_template(changes, spec, seen),
            *app_changes.with_the_traffic(changes, spec, found, step),
        )
        configuration = (
            *(change for change in changes if change not in later),
            *_key_changes(spec, found, origin),
            *adoption.traffic_change(found, held),
        )
        # By itself: whatever becomes of the template, it is known whose the app is, and its traffic
        # stays where it is.
        alone = origin is Origin.FOREIGN or held is not None
        steps = app_changes.step_changes(spec, found, step)
        endpoint = self.outputs(found)["endpoint"]
        # Asked once it serves, never while something moves: that is the replicas' to say.
        reached = (
            await reach(self.arm, spec, endpoint)
            if seen.proven and step.action is Action.NONE
            else None
        )
        outputs = {
            **self.outputs(found),
            **seen.outputs,
            "apiKeys": await self._key_hashes(spec, found, before),
        }
        outputs |= {} if origin is Origin.OURS else {"adopted": True}
        return AppObservation(
            exists=True,
            ready=step.action in (Action.NONE, Action.DEACTIVATE) and seen.proven,
            changes=(
                configuration
                if alone
                else app_changes.next_changes(configuration, later, steps, step)
            ),
            outputs=outputs,
            marks=(*seen.marks(spec, found, step), *((reached,) if reached else ())),
            reason=_reason(step, seen),
            message=seen.message if step.action is Action.WAIT else step.message or seen.message,
            poll_after=0.5 if step.action is not Action.NONE or not seen.proven else None,
            provisional=step.action is not Action.NONE,
            step=step,
            configuration=configuration,
            traffic=held,
            alone=alone,
            origin=origin,
            later=(*steps, *later, *app_changes.retired(spec, seen, step)) if alone else (),
        )

    async def create(self, desired: Desired, facts: Facts) -> Wrote:
        spec: ContainerAppSpec = desired.spec
        body = creation(
            spec, self._environment(spec, facts), {name: new_key() for name in spec.key_names}
        )
        operation = await apps.put_app(self.arm, spec.resource_group, spec.name, body)
        return Wrote(f"create container app {spec.name} with revision {spec.revision}", operation)

    async def update(self, desired: Desired, observed: Observation, facts: Facts) -> Wrote:
        spec: ContainerAppSpec = desired.spec
        assert isinstance(observed, AppObservation)
        step = observed.step
        group, name = spec.resource_group, spec.name
        if observed.configuration or step.action in (Action.WRITE, Action.SHIFT):
            patch = (
                await self._configuration_patch(spec, observed)
                if observed.configuration
                else {"properties": {}}
            )
            if observed.alone:
                step = NOTHING
            if step.action is Action.WRITE:
                body = _body(spec, self._environment(spec, facts))["properties"]
                patch["properties"] |= {
                    "workloadProfileName": body["workloadProfileName"],
                    "template": body["template"],
                }
            elif step.action is Action.SHIFT:
                traffic = [
                    {"revisionName": revision, "weight": weight}
                    for revision, weight in (step.weights or {}).items()
                ]
                ingress = (
                    patch["properties"].setdefault("configuration", {}).setdefault("ingress", {})
                )
                patch["properties"]["configuration"]["ingress"] = {**ingress, "traffic": traffic}
            operation = await apps.patch_app(self.arm, group, name, patch)
            return Wrote(_told(observed), operation)
        if step.action is Action.ACTIVATE:
            await apps.activate_revision(self.arm, group, name, step.revisions[0])
        elif step.action is Action.DEACTIVATE:
            await apps.deactivate_revision(self.arm, group, name, step.revisions[0])
        return Wrote(_told(observed))

    async def delete(self, desired: Desired) -> Wrote | None:
        """What was there before any document is released: it goes on as it is, without our tags."""
        spec: ContainerAppSpec = desired.spec
        found = await self.arm.inventory.get(self.name, self.scope(spec), spec.name)
        if found is None:
            return None
        if not self.is_ours(spec, found):
            return Wrote(f"container app {spec.name} goes on as it is") if spec.named else None
        if not tags.is_adopted(found):
            return await super().delete(desired)
        body = {"tags": tags.released(found["tags"])}
        return Wrote(
            f"release container app {spec.name}",
            await apps.patch_app(self.arm, spec.resource_group, spec.name, body),
        )

    async def remove(self, desired: Desired) -> str | None:
        return await apps.delete_app(self.arm, desired.spec.resource_group, desired.spec.name)

    def outputs(self, found: Mapping[str, Any]) -> dict[str, Any]:
        fqdn = ((found["properties"].get("configuration") or {}).get("ingress") or {}).get("fqdn")
        return {"id": found.get("id"), "endpoint": f"https://{fqdn}" if fqdn else None}

    @staticmethod
    def _environment(spec: ContainerAppSpec, facts: Facts) -> str:
        return str(facts.outputs(ObjectKey(Kind.ENVIRONMENT, spec.environment))["id"])

    async def _configuration_patch(
        self, spec: ContainerAppSpec, observed: AppObservation
    ) -> dict[str, Any]:
        """Everything outside the template as a merge patch: what it does not name stays as others
        set it.
        """
        found = await self.arm.inventory.get(self.name, self.scope(spec), spec.name)
        if found is None:
            raise NotReadyYet(Reason.MISSING, f"container app {spec.name} went away")
        owned, paths = (
            adoption.asked(spec, found, observed.origin),
            [change.path for change in observed.configuration],
        )
        configuration = {**owned["properties"]["configuration"]}
        if any(".secrets[" in path for path in paths):
            configuration["secrets"] = await self._secrets(spec, found, observed.origin)
        port = ((found["properties"].get("configuration") or {}).get("ingress") or {}).get(
            "targetPort"
        )
        if port is not None and app_changes.PORT not in paths:
            configuration["ingress"] = {**configuration["ingress"], "targetPort": port}  # not yet
        if observed.traffic:
            configuration["ingress"] = {**configuration["ingress"], "traffic": observed.traffic}
        patch: dict[str, Any] = {"properties": {"configuration": configuration}}
        if app_changes.PROFILE in paths:
            patch["properties"]["workloadProfileName"] = owned["properties"]["workloadProfileName"]
        if owned.get("tags"):
            patch["tags"] = tags.merged(found.get("tags"), owned["tags"])
        return patch

    async def _secrets(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], origin: Origin
    ) -> list[dict[str, Any]]:
        """The list, which ARM replaces whole: what is read back, and keys for all names of the
        document. Of an app that was there before nothing is dropped, whatever it is called: its
        revisions may refer to it.
        """
        values = await apps.list_secrets(self.arm, spec.resource_group, spec.name)
        wanted = [KEY_PREFIX + name for name in spec.key_names]
        dropped = [KEY_PREFIX + name for name in _key_names(found)] if origin is Origin.OURS else []
        listed = found["properties"]["configuration"].get("secrets") or []
        kept = [
            adoption.secret(entry, values)
            for entry in listed
            if entry["name"] not in (*dropped, *wanted)
        ]
        return [*kept, *({"name": name, "value": values.get(name) or new_key()} for name in wanted)]

    async def _key_hashes(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], before: Mapping[str, Any]
    ) -> list[list[str]]:
        """Name and SHA-256 of each API key that exists; read from Azure only when a name is not
        known yet.
        """
        there = _key_names(found)
        known = [[name, value] for name, value in before.get("apiKeys") or () if name in there]
        if there <= {name for name, _ in known}:
            return known
        values = await apps.list_secrets(self.arm, spec.resource_group, spec.name)
        return [
            [name.removeprefix(KEY_PREFIX), hashlib.sha256(value.encode()).hexdigest()]
            for name, value in values.items()
            if name.startswith(KEY_PREFIX)
        ]

    def _refuse_move(self, spec: ContainerAppSpec, found: Mapping[str, Any], facts: Facts) -> None:
        wanted = str(facts.last(ObjectKey(Kind.ENVIRONMENT, spec.environment)).get("id") or "")
        actual = str(
            found["properties"].get("environmentId")
            or found["properties"].get("managedEnvironmentId")
            or ""
        )
        if wanted and actual and not ids.same(wanted, actual):
            raise TerminalError(
                Reason.ENVIRONMENT_IMMUTABLE,
                f"container app {spec.name} runs in {actual.rsplit('/', 1)[-1]}; "
                f"Azure cannot move it to {wanted.rsplit('/', 1)[-1]}",
            )


def creation(spec: ContainerAppSpec, environment: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """What creates the app in the managed environment of that id, with its API keys by name."""
    body = _body(spec, environment)
    configuration = body["properties"]["configuration"]
    configuration["secrets"] = [
        {"name": KEY_PREFIX + name, "value": value} for name, value in keys.items()
    ]
    configuration["ingress"]["traffic"] = [{"revisionName": spec.revision, "weight": 100}]
    return body


def _body(spec: ContainerAppSpec, environment: str) -> dict[str, Any]:
    properties = spec.body["properties"]
    configuration = {
        **properties["configuration"],
        "ingress": dict(properties["configuration"]["ingress"]),
    }
    template = {"revisionSuffix": spec.suffix, **spec.template}
    own = {"environmentId": environment, "configuration": configuration, "template": template}
    return {**spec.body, "properties": {**properties, **own}}


def _told(observed: AppObservation) -> str:
    """What a write does, in words."""
    step, parts = observed.step, []
    if observed.configuration:
        verb = "take over, with" if observed.origin is Origin.FOREIGN else "update"
        parts.append(f"{verb} " + ", ".join(change.path for change in observed.configuration))
    if (step.action in (Action.WRITE, Action.SHIFT) and not observed.alone) or not parts:
        parts.append(f"{step.action.value}: {step.message}")
    return "; ".join(parts)


def _reason(step: Step, seen: Seen) -> Reason | None:
    if step.action not in (Action.NONE, Action.WAIT):
        return Reason.ROLLING_OUT
    if seen.proven:
        return Reason.SCALED_TO_ZERO if seen.outputs["asleep"] else None
    return Reason.STARTING if step.action is Action.WAIT else Reason.LOADING


def new_key() -> str:
    """256 random bits, in letters that need no quoting in a shell or a header."""
    return "mk-" + secrets.token_urlsafe(32)


def _key_names(found: Mapping[str, Any]) -> set[str]:
    listed = found["properties"]["configuration"].get("secrets") or []
    return {
        str(s["name"]).removeprefix(KEY_PREFIX)
        for s in listed
        if str(s["name"]).startswith(KEY_PREFIX)
    }


def _key_changes(
    spec: ContainerAppSpec, found: Mapping[str, Any], origin: Origin
) -> tuple[Change, ...]:
    there, wanted = _key_names(found), set(spec.key_names)
    if origin is not Origin.OURS:
        there &= wanted  # another secret of such a name may be anybody's
    path = "configuration.secrets[" + KEY_PREFIX + "{}]"
    missing = [
        Change(path.format(name), None, "(secret)", "hot") for name in sorted(wanted - there)
    ]
    return (
        *missing,
        *(Change(path.format(name), "(secret)", None, "hot") for name in sorted(there - wanted)),
    )
