"""Microsoft.App/containerApps: a service's revisions, traffic, ingress and API keys.

This file reads and writes. `app_body` makes the request bodies, `target_revision` says which
revision is to serve, `replicas` what runs, `rollout` decides the next step, `app_write` what is
written for it, `adoption` what is asked of an app that existed before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from reconciler.api import tags
from reconciler.api.conditions import ConditionType, Status
from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs, Boot, CatalogueOutputs, ResourceOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps, ids, operations, ownership
from reconciler.engine.diff import diff
from reconciler.engine.errors import NotReadyYet, TerminalError
from reconciler.engine.external import (
    Change,
    Desired,
    Facts,
    Identity,
    Mark,
    ObjectKey,
    Observation,
    Operation,
    Origin,
    Progress,
    Wrote,
)
from reconciler.kinds import template_rules
from reconciler.kinds.arm_resource import SETTLED, ArmResource, last_write
from reconciler.kinds.connections import Connections
from reconciler.kinds.service import (
    adoption,
    api_keys,
    app_body,
    app_secrets,
    app_write,
    good_template,
    live_template,
    rollout,
)
from reconciler.kinds.service.app_write import AppWrite
from reconciler.kinds.service.diagnosis import Situation, diagnose
from reconciler.kinds.service.endpoint import Endpoints
from reconciler.kinds.service.hold import BY_PERSON, Hold
from reconciler.kinds.service.quota import resolve_strategy
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.rollout import Action, Step, Verdict
from reconciler.kinds.service.rollout_steps import RolloutSteps, StepReached, noted
from reconciler.kinds.service.target_revision import TargetRevision, choose_target, ordered

# Fields outside the template that change together with it, or not at all.
GOES_ALONG = (app_write.PORT, app_write.PROFILE)


class ContainerApp(ArmResource[ContainerAppSpec, AppWrite]):
    """An app in Multiple mode with explicit weights; an adopted app is brought there."""

    name = Kind.APP
    tells_its_end = True
    rules = replace(template_rules.RULES, effects={app_write.PROFILE: "new revision"})

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.looks, self.trials = connections.looks, connections.trials
        self.causes, self.endpoints = connections.causes, Endpoints(self.arm)
        self.secrets = app_secrets.AppSecrets(self.arm, connections.secrets)

    async def observe(
        self, desired: Desired[ContainerAppSpec], facts: Facts
    ) -> Observation[AppWrite]:
        spec, before = desired.spec, facts.last(desired.key, AppOutputs)
        found = await self.find(spec)
        if found is None:
            message = "the container app does not exist"
            mark = Mark(ConditionType.PROVISIONED, Status.FALSE, Reason.MISSING, message)
            return Observation(exists=False, marks=(mark,))
        home = facts.last(ObjectKey(Kind.ENVIRONMENT, spec.environment), ResourceOutputs)
        # Ownership is checked first: an app of another set must not be moved anyway.
        origin = adoption.origin_of(spec, found, self.ownership, before)
        app_write.refuse_move(spec, found, home.id if home else "")
        differences = diff(adoption.asked(spec, found, origin), found, self.rules)
        self._refuse_immutable(spec, differences)
        # Azure shows the old revision as the newest until the write has ended.
        if (state := operations.state_of(found)) not in SETTLED:
            return _busy(state, before, origin)
        return await self._followed(desired, facts, found, origin, differences)

    async def _followed(
        self,
        desired: Desired[ContainerAppSpec],
        facts: Facts,
        found: Mapping[str, Any],
        origin: Origin,
        differences: tuple[Change, ...],
    ) -> Observation[AppWrite]:
        """An app without an operation under way: where its rollout is, and what to write next."""
        spec, before = desired.spec, facts.last(desired.key, AppOutputs)
        # A foreign app has no decision of ours, whatever its tags say.
        hold = Hold.on(found) if origin is not Origin.FOREIGN else None
        target = await choose_target(self.arm, spec, hold)
        # Port and profile of the refused revision must not reach the one that serves.
        if target.held:
            differences = tuple(change for change in differences if change.path not in GOES_ALONG)
        seen = await self._look(target.spec, found, origin, facts, before)
        boot = self.trials.boot(seen, before)
        verdict = await self._judge(spec, target, found, seen, boot)
        step = await self._step(spec, found, seen, differences, verdict, target.hold)
        head = await self._head(target.spec, found, origin, before)
        secrets = await self.secrets.changes(spec, found, before)
        template = await live_template.reported_changes(self.arm, target.spec, found, step)
        write = app_write.decide(
            target.spec, found, origin, seen, step, differences, head.api_keys, secrets, template
        )
        # Only while something is expected to answer there.
        endpoint = self.outputs(found).endpoint if seen.serves else None
        reached = await self.endpoints.ask(target.spec, endpoint, writes=bool(write.changes))
        if any(mark.status is Status.FALSE for mark in reached):
            self.looks.turns.hurry(spec.service)
        # Last, because it reads logs, which only a service that does not serve needs.
        case = Situation(target.spec, found, seen, step, verdict, target.held, reached)
        diagnosis = await diagnose(self.causes, case)
        head = replace(
            head,
            boot=boot,
            asked_revision=spec.revision,
            engine=target.spec.engine,
            held=target.held.cause if target.held else None,
        )
        held, over = target.held, step.action in (Action.NONE, Action.DEACTIVATE)
        settled = step.action is Action.NONE and diagnosis.complete
        return Observation(
            exists=True,
            ready=(over or held is not None) and diagnosis.complete,
            serves=seen.serves and not diagnosis.unreachable,
            changes=write.changes,
            outputs=seen.outputs(head),
            marks=(*seen.marks(found, step), *reached),
            last_write=last_write(found),
            reason=diagnosis.reason,
            message=diagnosis.message,
            poll_after=None if settled else max(step.left, self.looks.turns.pause()),
            provisional=step.action is not Action.NONE,
            held=held is not None,
            failed=bool(verdict.failed)
            or (held is not None and seen.proven and not held.by_person),
            origin=origin,
            next=write,
            later=write.later,
        )

    async def _judge(
        self,
        wanted: ContainerAppSpec,
        target: TargetRevision,
        found: Mapping[str, Any],
        seen: Seen,
        boot: Boot | None,
    ) -> Verdict:
        """Whether the revision has failed. A person's order to go back counts as a failure, and
        needs no explanation from its logs.
        """
        weight = app_write.weights_of(found).get(target.spec.revision, 0)
        verdict = await self.trials.judge(seen, boot, found, weight)
        if not target.held and (instead := ordered(wanted, seen)):
            return Verdict(failed=BY_PERSON, instead=instead)
        if not verdict.failed:
            return verdict
        # The place in the document, so that the reader of the cause finds the lines to change.
        place = f"{target.spec.place}: " if target.spec.place else ""
        words = await self.causes.of_failure(verdict.failed, target.spec, found, seen)
        return replace(verdict, failed=f"{place}{words}")

    async def _look(
        self,
        spec: ContainerAppSpec,
        found: Mapping[str, Any],
        origin: Origin,
        facts: Facts,
        before: AppOutputs | None,
    ) -> Seen:
        """What runs. A foreign app has no replica that reports to the share, and the share may not
        exist yet.
        """
        key = ObjectKey(Kind.CATALOGUE, spec.service)
        catalogue = facts.last(key, CatalogueOutputs) if spec.serves_model else None
        if catalogue and catalogue.engine != spec.engine:
            catalogue = None  # after a rollback to another engine, whose catalogue stays as it is
        watched = replace(spec, engine=None) if origin is Origin.FOREIGN else spec
        return await self.looks.look(watched, found, before, catalogue)

    async def _step(
        self,
        spec: ContainerAppSpec,
        found: Mapping[str, Any],
        seen: Seen,
        differences: tuple[Change, ...],
        verdict: Verdict,
        hold: Hold | None,
    ) -> Step:
        """The rollout's next step. All revisions of an app have one target port, so two revisions
        with different ports cannot share the traffic.
        """
        strategy = await resolve_strategy(self.arm, seen.spec, found, seen.revisions)
        moves = any(change.path == app_write.PORT for change in differences)
        if strategy == "BlueGreen" and moves:
            strategy = "Surge"
        weights = app_write.weights_of(found)
        now = self.arm.time.now()
        steps = RolloutSteps(spec.steps, StepReached.on(found), now, spec.promoted, verdict.unmet)
        return rollout.next_step(
            spec.revision, strategy, seen.revisions, weights, verdict, hold, steps
        )

    async def _head(
        self,
        spec: ContainerAppSpec,
        found: Mapping[str, Any],
        origin: Origin,
        before: AppOutputs | None,
    ) -> AppOutputs:
        """The outputs that ARM gives for the app itself."""
        keys = await self.secrets.key_hashes(spec, found, before)
        return replace(
            self.outputs(found),
            api_keys=keys,
            secrets=app_secrets.names(spec, found, before),
            adopted=origin is not Origin.OURS,
        )

    async def create(self, desired: Desired[ContainerAppSpec], facts: Facts) -> Wrote:
        spec = desired.spec
        body = app_body.creation(
            spec,
            self._environment(spec, facts),
            {name: api_keys.new_key() for name in spec.key_names},
            self.secrets.creation(spec),
        )
        body["tags"] = {**body["tags"], **ownership.applied()}
        operation = await apps.put_app(self.arm, spec.resource_group, spec.name, body)
        self.arm.inventory.made(self.identify(desired).id)
        return Wrote(f"create container app {spec.name} with revision {spec.revision}", operation)

    async def update(
        self, desired: Desired[ContainerAppSpec], observed: Observation[AppWrite], facts: Facts
    ) -> Wrote:
        spec, write = desired.spec, observed.next or AppWrite()
        self.looks.turns.hurry(spec.service)
        group, name, step = spec.resource_group, spec.name, write.step
        told = app_write.describe(write, observed.origin)
        match step.action:
            case Action.HOLD | Action.RELEASE:
                return await self._decide(spec, step, told)
            case Action.ACTIVATE:
                await apps.activate_revision(self.arm, group, name, step.revisions[0])
                return Wrote(told)
            case Action.DEACTIVATE:
                await apps.deactivate_revision(self.arm, group, name, step.revisions[0])
                return Wrote(told)
        patch = await self._configuration_patch(spec, write, observed.origin)
        properties = patch.setdefault("properties", {})
        found = await self._there(spec) if step.action is not Action.WRITE else {}
        if step.action is Action.WRITE:
            body = app_body.whole(spec, self._environment(spec, facts))["properties"]
            properties |= {
                "workloadProfileName": body["workloadProfileName"],
                "template": body["template"],
            }
            if write.traffic:
                ingress = properties.setdefault("configuration", {}).setdefault("ingress", {})
                ingress["traffic"] = write.traffic
        elif step.action is Action.SHIFT:
            ingress = properties.setdefault("configuration", {}).get("ingress", {})
            traffic = [
                {"revisionName": revision, "weight": weight}
                for revision, weight in (step.weights or {}).items()
            ]
            properties["configuration"]["ingress"] = {**ingress, "traffic": traffic}
            existing = patch.get("tags") or found.get("tags") or {}
            now, weights = self.arm.time.now(), step.weights or {}
            if marks := noted(existing, weights, step.revisions[0], now):
                patch["tags"] = marks
        if step.action is not Action.WRITE:
            return Wrote(told, await good_template.patch_app(self.arm, found, patch, spec))
        self.trials.writes(spec)
        try:
            return Wrote(told, await apps.patch_app(self.arm, group, name, patch))
        except TerminalError as error:
            self.trials.refuse(name, error.message)
            known = cast("AppOutputs", observed.outputs).arm.revisions
            if any(revision.active for revision in known):
                raise
            # Recreate has switched the old revision off already; it must come back at once.
            raise NotReadyYet(error.reason, error.message, after=0.5) from error

    async def poll(self, identity: Identity, operation: str) -> Progress:
        progress = await super().poll(identity, operation)
        if progress.error is not None:
            self.trials.ended_badly(ids.name(identity.id), str(progress.error))
        return await self.causes.explained(progress, identity.id)

    async def _decide(self, spec: ContainerAppSpec, step: Step, told: str) -> Wrote:
        """Keep the decision against a revision, or forget it."""
        found = await self._there(spec)
        existing = found.get("tags") or {}
        body: dict[str, Any] = {"tags": {**existing, tags.HELD: None}}
        if step.action is Action.HOLD:
            hold = Hold(step.revisions[0], step.revisions[1], step.message)
            body = {"tags": tags.merged(existing, {tags.HELD: hold.text})}
            told = f"roll back to revision {hold.serves}: {step.message}"
        trouble = Reason.ROLLED_BACK if step.action is Action.HOLD else None
        return Wrote(told, await good_template.patch_app(self.arm, found, body, spec), trouble)

    async def _there(self, spec: ContainerAppSpec) -> Mapping[str, Any]:
        found = await self.arm.inventory.get(self.name, self.scope(spec), spec.name)
        if found is None:
            raise NotReadyYet(Reason.MISSING, f"container app {spec.name} went away")
        return found

    async def delete(self, identity: Identity) -> Wrote | None:
        """An app that was there before any document stays; only our tags are taken off."""
        found, name = await self._get(identity), ids.name(identity.id)
        if found is None:
            return None
        if not self.may_delete(found, identity.scope):
            return Wrote(f"container app {name} stays: these documents did not make it")
        if not tags.is_adopted(found):
            return await super().delete(identity)
        body = {"tags": tags.released(found["tags"])}
        operation = await good_template.patch_app(self.arm, found, body)
        return Wrote(f"release container app {name}", operation)

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        group = ids.part(identity.id, "resourceGroups")
        return await apps.delete_app(self.arm, group, ids.name(identity.id))

    def outputs(self, found: Mapping[str, Any]) -> AppOutputs:
        fqdn = ((found["properties"].get("configuration") or {}).get("ingress") or {}).get("fqdn")
        return AppOutputs(str(found["id"]), endpoint=f"https://{fqdn}" if fqdn else None)

    @staticmethod
    def _environment(spec: ContainerAppSpec, facts: Facts) -> str:
        return facts.outputs(ObjectKey(Kind.ENVIRONMENT, spec.environment), ResourceOutputs).id

    async def _configuration_patch(
        self, spec: ContainerAppSpec, write: AppWrite, origin: Origin
    ) -> dict[str, Any]:
        """Everything outside the template as a merge patch. Fields that the patch does not name
        keep the values that others set.
        """
        if not write.configuration:
            return {}
        found = await self._there(spec)
        owned = adoption.asked(spec, found, origin)
        paths = [change.path for change in write.configuration]
        configuration = {**owned["properties"]["configuration"]}
        if any(".secrets[" in path for path in paths):
            values = await apps.list_secrets(self.arm, spec.resource_group, spec.name)
            kept = api_keys.written(spec, found, origin, values)
            configuration["secrets"] = self.secrets.written(spec, kept, write.configuration)
        port = ((found["properties"].get("configuration") or {}).get("ingress") or {}).get(
            "targetPort"
        )
        if port is not None and app_write.PORT not in paths:
            configuration["ingress"] = {**configuration["ingress"], "targetPort": port}  # not yet
        if write.traffic:
            configuration["ingress"] = {**configuration["ingress"], "traffic": write.traffic}
        patch: dict[str, Any] = {"properties": {"configuration": configuration}}
        if any(path.startswith("identity") for path in paths):
            patch["identity"] = app_body.identity(owned["identity"], found.get("identity") or {})
        if app_write.PROFILE in paths:
            # Another profile creates a revision, so our template goes along: that of an adopted app
            # may be somebody else's, with the name of a revision that exists already.
            patch["properties"]["workloadProfileName"] = owned["properties"]["workloadProfileName"]
            patch["properties"]["template"] = app_body.revision(spec)
        if owned.get("tags"):
            wanted = {**owned["tags"], **ownership.applied()}
            patch["tags"] = tags.merged(found.get("tags"), wanted)
        return patch


def _busy(state: str, before: AppOutputs | None, origin: Origin) -> Observation[AppWrite]:
    """While an operation runs, ARM shows fields half old and half new: nothing is judged."""
    return Observation(
        exists=True,
        busy=True,
        reason=Reason.OPERATION_IN_PROGRESS,
        message=f"an operation runs on it ({state}), and it is compared when that has ended",
        poll_after=0.5,
        outputs=before,
        origin=origin,
    )
