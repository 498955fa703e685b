"""Whether a new revision will serve: judged by its state in Azure, its deadline, its smoke request
(sent before it takes traffic) and the evaluations of its steps. `rollout` acts on the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.api.outputs import AppOutputs, Boot, Revision
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm.clients import Arm
from reconciler.engine.clock import Clock
from reconciler.kinds.service.evaluation import Evaluations
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.rollout import Verdict
from reconciler.kinds.service.smoke import SmokeAnswer, smoke

PATIENCE = 30.0  # seconds for which Azure must call a revision failed; a crash may pass
CRASHES = 3  # one crash is no failure, because a dependency may come late
FAILURES = 2  # operations that fail to make a revision before it is given up
WRONG = 10.0  # seconds for which a healthy revision may answer its smoke request wrongly
BLIND = 60.0  # seconds for which a rollout waits until the daemon reaches the ingress


class Trials:
    """One for all container apps. `Boot` has what must outlive the process. Losing what is kept
    here costs one more smoke request or refused write after a restart.
    """

    def __init__(self, arm: Arm, clock: Clock) -> None:
        self.arm, self.clock = arm, clock
        self.evaluations = Evaluations(arm, clock)
        self._answered: dict[str, str] = {}  # the revision whose smoke request went well, by app
        # The revision, whether its ingress is out of reach, and since when it has not answered.
        self._wrong: dict[str, tuple[str, bool, float]] = {}
        self._writing: dict[str, tuple[str, int]] = {}  # revision and how often it was not made
        self._refused: dict[str, tuple[str, str]] = {}  # revision and why Azure does not make it

    def writes(self, spec: ContainerAppSpec) -> None:
        """The wanted revision is about to be made."""
        name, failures = self._writing.get(spec.name, ("", 0))
        self._writing[spec.name] = (spec.revision, failures if name == spec.revision else 0)

    def refuse(self, app: str, cause: str) -> None:
        """Azure does not make the revision that was written last."""
        self._refused[app] = (self._writing[app][0], cause)

    def ended_badly(self, app: str, cause: str) -> None:
        """An operation on the app has failed; after some of them the revision counts as refused."""
        name, failures = self._writing.get(app, ("", 0))
        self._writing[app] = (name, failures + 1)
        if name and failures + 1 >= FAILURES:
            self.refuse(app, cause)

    def boot(self, seen: Seen, before: AppOutputs | None) -> Boot | None:
        """Since when the wanted revision has been booting; None when it is not. Before it has
        traffic, it is still booting while one of its replicas fails, whatever the others do.
        """
        found, now = seen.wanted, self.clock.elapsed()
        limps = found is not None and found.limps and not found.weight
        if found is None or not found.active or (found.serving and not limps):
            return None
        known = before.boot if before else None
        # The clock starts at zero with every boot of the machine, so older times mean nothing.
        if known is None or (known.revision, known.period) != (found.name, self.clock.boot):
            known = Boot(found.name, self.clock.boot, now, restarts=_restarts(seen))
        if not found.failed and not limps:
            return replace(known, failing=None)
        return known if known.failing is not None else replace(known, failing=now)

    async def judge(
        self, seen: Seen, boot: Boot | None, found: Mapping[str, Any], weight: int
    ) -> Verdict:
        """The verdict on the wanted revision, which has `weight` percent of the traffic."""
        spec, wanted = seen.spec, seen.wanted
        if wanted is None:
            name, cause = self._refused.get(spec.name, ("", ""))
            return Verdict(failed=cause if name == spec.revision else "")
        if boot is not None:
            message = f"revision {wanted.name}: {seen.lacking}"
            return Verdict(self._overdue(seen, wanted, boot), not wanted.limps, message)
        # Between the steps each look repeats the request, because it may begin to fail.
        between = 0 < weight < 100
        if not wanted.serving or (self._answered.get(spec.name) == wanted.name and not between):
            return Verdict()
        if weight == 100 and (seen.asleep or seen.proven_before == wanted.name):
            return Verdict()  # it is proven, and a request could wake it
        verdict = await self._ask(seen, wanted, found)
        if not between or verdict.failed or not verdict.answered:
            return verdict
        evaluated = await self.evaluations.ask(spec, weight, found)
        return Verdict(failed=evaluated.failed, unmet=evaluated.unmet)

    def _overdue(self, seen: Seen, wanted: Revision, boot: Boot) -> str:
        now, fresh = self.clock.elapsed(), seen.proven_before != wanted.name
        crashes = _restarts(seen) - boot.restarts
        # ActivationFailed is final. Otherwise Azure restarts a container for ever, so the number of
        # restarts and the time decide.
        gave_up = wanted.running == "ActivationFailed"
        lasting = boot.failing is not None and now - boot.failing >= PATIENCE
        why = seen.message or f"revision {wanted.name}: {seen.lacking}"
        if gave_up or lasting or (wanted.failed and fresh and crashes >= CRASHES):
            return why
        deadline = seen.spec.deadline_seconds
        if now - boot.since > deadline:
            return f"revision {wanted.name} is not ready after {deadline} s: {why}"
        return ""

    async def _ask(self, seen: Seen, wanted: Revision, found: Mapping[str, Any]) -> Verdict:
        spec = seen.spec
        answer = await smoke(self.arm, spec, wanted.name, found)
        if not answer.wrong:
            self._answered[spec.name] = wanted.name
            self._wrong.pop(spec.name, None)
            return Verdict()
        now = self.clock.elapsed()
        name, unseen, since = self._wrong.get(spec.name, ("", False, now))
        if (name, unseen) != (wanted.name, answer.unseen):
            since = now
        self._wrong[spec.name] = (wanted.name, answer.unseen, since)
        if now - since < self._patience(seen, answer):
            return Verdict(answered=False, message=answer.wrong)
        # A fault of the daemon's own network is no fault of the revision. Its state in Azure must
        # do, as it does for an app that only its environment can reach.
        return Verdict() if answer.unseen else Verdict(answer.wrong, False, answer.wrong)

    @staticmethod
    def _patience(seen: Seen, answer: SmokeAnswer) -> float:
        """For how many seconds a revision may keep giving this answer."""
        if answer.unseen:
            # While the old revision serves there is time: nobody waits for the new one.
            others = (each for each in seen.carrying if each.name != seen.spec.revision)
            return BLIND if any(each.serving for each in others) else WRONG
        # The app's own wrong answer will stay wrong. The ingress may answer so because it has no
        # route yet.
        return WRONG if answer.by_app else seen.spec.deadline_seconds


def _restarts(seen: Seen) -> int:
    return max((replica.restarts for replica in seen.mine), default=0)
