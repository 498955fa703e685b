"""Microsoft.App/jobs: brings a hub's model onto the share (serving/fetch.py runs in it). Ready when
it is complete there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.hub import TOKEN_SECRET
from reconciler.api.kinds import Kind
from reconciler.api.outputs import JobOutputs, ResourceOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import JobSpec
from reconciler.arm import files, ids, jobs
from reconciler.arm.inventory import Part
from reconciler.arm.publish import MANIFEST
from reconciler.arm.share import Share
from reconciler.arm.sharedkey import key_fingerprint
from reconciler.engine.errors import WaitingForHuman
from reconciler.engine.external import (
    Change,
    Desired,
    Facts,
    Identity,
    Mark,
    ObjectKey,
    Observation,
    Operation,
    Wrote,
)
from reconciler.kinds import template_rules
from reconciler.kinds.arm_resource import ArmResource
from reconciler.kinds.connections import Connections
from serving.catalogue import LONGEST
from serving.untrusted import UntrustedError, parse

PROGRESS = "progress.jsonl.tmp"
_LINES = 100  # of its end that are looked at
START, SECRET = "execution", "properties.configuration.secrets"
RUNNING = frozenset({"running", "processing", "unknown"})
# Errors of a hub that only a person can resolve, as serving/hub.py spells them.
FINAL: Mapping[str, Reason] = {
    reason.value: reason
    for reason in (
        Reason.REPO_NOT_FOUND,
        Reason.GATED_REPO,
        Reason.REVISION_NOT_FOUND,
        Reason.UNAUTHORIZED,
        Reason.NO_WEIGHTS,
        Reason.BAD_NAME,
    )
}
PAUSE, LONG_PAUSE = (
    30.0,
    300.0,
)  # seconds before a failed download is tried again; longer where a person must act first


class Job(ArmResource[JobSpec]):
    """A finished job stays: it costs nothing, and its executions are the record of what was
    fetched.
    """

    name = Kind.JOB
    rules = template_rules.RULES

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.shares, self.causes = connections.shares, connections.causes
        # Fingerprint of the token that this process gave each job, and when: an older failure says
        # nothing about it.
        self._given: dict[ObjectKey, tuple[str, datetime]] = {}

    async def observe(self, desired: Desired[JobSpec], facts: Facts) -> Observation:
        spec = desired.spec
        seen = await super().observe(desired, facts)
        if not seen.exists or seen.busy:
            return seen
        manifest = await self._manifest(spec)
        if manifest is not None:
            return self._complete(seen, self.identify(desired), spec, manifest)
        if seen.changes:
            return replace(seen, ready=False)
        fingerprint, given = self._given.get(desired.key, ("", None))
        if fingerprint != self._token or given is None:
            return _with(seen, Change(SECRET, "(secret)", "(secret)"), Reason.UPDATING, "")
        return await self._executing(seen, spec, given)

    async def update(self, desired: Desired[JobSpec], observed: Observation, facts: Facts) -> Wrote:
        if [change.path for change in observed.changes] != [START]:
            return await super().update(desired, observed, facts)
        spec = desired.spec
        await files.make_parents(self._share(spec), [f"{spec.folder}/x"])
        operation = await jobs.start_job(self.arm, spec.resource_group, spec.name)
        return Wrote(f"fetch {spec.source} to {spec.folder}", operation)

    async def put(
        self,
        desired: Desired[JobSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> Operation | None:
        spec, properties = desired.spec, body["properties"]
        environment = facts.outputs(ObjectKey(Kind.ENVIRONMENT, spec.environment), ResourceOutputs)
        # In a secret, since a plain variable is shown to everybody who may read the job.
        secrets = (
            [{"name": TOKEN_SECRET, "value": self.arm.settings.hf_token}]
            if self.arm.settings.hf_token
            else []
        )
        whole = {
            **body,
            "properties": {
                **properties,
                "environmentId": environment.id,
                "configuration": {**properties["configuration"], "secrets": secrets},
            },
        }
        operation = await jobs.put_job(self.arm, spec.resource_group, spec.name, whole)
        self._given[desired.key] = (self._token, self.arm.time.now())
        return operation

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        group = ids.part(identity.id, "resourceGroups")
        return await jobs.delete_job(self.arm, group, ids.name(identity.id))

    @property
    def _token(self) -> str:
        return key_fingerprint(self.arm.settings.hf_token)

    def _share(self, spec: JobSpec) -> Share:
        return self.shares.open(spec.share)

    async def _manifest(self, spec: JobSpec) -> Mapping[str, Any] | None:
        data = await files.read(self._share(spec), f"{spec.folder}/{MANIFEST}", LONGEST)
        try:
            manifest = parse(data or b"", LONGEST)
        except UntrustedError:
            return None
        files_of = manifest.get("files") if isinstance(manifest, dict) else None
        return manifest if isinstance(files_of, dict) else None

    def _complete(
        self, seen: Observation, identity: Identity, spec: JobSpec, manifest: Mapping[str, Any]
    ) -> Observation:
        outputs = JobOutputs(identity.id, spec.folder, manifest["digest"], len(manifest["files"]))
        mark = Mark(
            ConditionType.PUBLISHED,
            Status.TRUE,
            Reason.PUBLISHED,
            f"{spec.source} is at {spec.folder}",
        )
        return replace(seen, ready=True, outputs=outputs, marks=(mark,))

    async def _executing(self, seen: Observation, spec: JobSpec, given: datetime) -> Observation:
        """The state of the newest execution; a change that starts the next one if there is none, or
        if the newest one failed long enough ago.

        Raises:
            WaitingForHuman: the hub refused, and a person must change that; tried again now and
                then.
        """
        scope = ids.job(self.arm.subscription_id, spec.resource_group, spec.name)
        executions = await self.arm.inventory.list(Part.EXECUTION, scope)
        newest = max(
            executions,
            key=lambda each: str(each["properties"].get("startTime") or ""),
            default=None,
        )
        start = Change(START, None, "start", "fetch")
        # Azure starts no execution by itself when a job is made.
        if newest is None:
            return _with(seen, start, Reason.FETCHING, f"{spec.source} is to be fetched")
        line = await self._progress(spec)
        if str(newest["properties"].get("status")).lower() in RUNNING:
            return _running(seen, spec, line)
        error = line.get("error") or await self._silent(spec, scope, newest)
        final = FINAL.get(str(error["reason"]))
        ended = _moment(newest["properties"].get("endTime"))
        age = (self.arm.time.now() - ended).total_seconds()
        # A failure from before the job was last written says nothing about the present job.
        if ended <= given or age >= (LONG_PAUSE if final else PAUSE):
            return _with(seen, start, Reason.FETCH_FAILED, str(error["message"]))
        message = f"{spec.source} cannot be fetched: {error['message']}"
        if final:
            raise WaitingForHuman(final, message)
        mark = Mark(ConditionType.PUBLISHED, Status.FALSE, Reason.FETCH_FAILED, message)
        return replace(
            seen,
            ready=False,
            reason=Reason.FETCH_FAILED,
            message=message,
            marks=(mark,),
            poll_after=5.0,
        )

    async def _silent(
        self, spec: JobSpec, scope: str, execution: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Why an execution failed that left no error on the share."""
        words = await self.causes.of_execution(scope, execution)
        said = f"the job ended and {spec.folder} is not complete"
        return {
            "reason": Reason.FETCH_FAILED,
            "message": f"{said}. {words}" if words else said,
        }

    async def _progress(self, spec: JobSpec) -> Mapping[str, Any]:
        """The last whole line that the execution appended."""
        data = await files.read(self._share(spec), f"{spec.folder}/{PROGRESS}", LONGEST) or b""
        for line in reversed(data.splitlines()[-_LINES:]):
            with suppress(UntrustedError):
                said = parse(line)
                if isinstance(said, dict):
                    return said
        return {}


def _running(seen: Observation, spec: JobSpec, line: Mapping[str, Any]) -> Observation:
    """An execution that is under way, with the bytes that its last `line` on the share counts."""
    done, total = _gib(line.get("done", 0)), _gib(line.get("total") or spec.size)
    message = f"{done} of {total} of {spec.source} fetched"
    return replace(
        seen,
        ready=False,
        busy=True,
        reason=Reason.FETCHING,
        message=message,
        marks=(Mark(ConditionType.PUBLISHED, Status.FALSE, Reason.FETCHING, message),),
        poll_after=2.0,
    )


def _with(seen: Observation, change: Change, reason: Reason, message: str) -> Observation:
    return replace(seen, ready=False, changes=(change,), reason=reason, message=message)


def _moment(text: str | None) -> datetime:
    """An ARM time, which may lack its zone; long ago when there is none."""
    try:
        then = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return then if then.tzinfo else then.replace(tzinfo=UTC)


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
