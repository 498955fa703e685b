"""Under which name each Environment's share is registered for mounts.

What was registered with an older key of the account mounts no more, not even reliably when the new
key is written to it (azure-container-apps#1406). So after a rotation the share is registered once
more, under a name that ends in the fingerprint of the key, and all that mounts it moves there.
Azure and the share say what is registered; no local memory decides.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from reconciler.api.kinds import Kind
from reconciler.api.outputs import StorageOutputs
from reconciler.api.reasons import Reason
from reconciler.arm import ids, mountkeys
from reconciler.arm.clients import Arm
from reconciler.arm.share import Share
from reconciler.composition.environment import MODES, share_of, storage_key
from reconciler.composition.names import Names
from reconciler.composition.world import Registered
from reconciler.engine.errors import Busy, NotReadyYet, ReconcileError, RetryableError
from reconciler.engine.events import Event, warning
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.kinds.share.shares import Shares

log = structlog.get_logger(__name__)
FRESH = 30.0  # seconds for which a look at what is registered needs no second one
DIGITS = 8  # of the fingerprint, in a name
Outputs = Mapping[ObjectKey, Mapping[str, Any]]
_Place = tuple[str, str, str, str, str]


class Registrations:
    """`found` is by Environment, as of the last `look`. What was found before counts only while the
    Environment has the same share, registered in the same managed environment.
    """

    def __init__(self, arm: Arm, shares: Shares) -> None:
        self.arm = arm
        self.shares = shares
        self.found: dict[str, Registered] = {}
        # set when a share opens itself with another key than before, and when some are `aged`
        self.changed = asyncio.Event()
        self.aged = False  # whether a look has left out Environments whose last one is not fresh
        self._places: dict[str, _Place] = {}
        self._looked: dict[str, float] = {}  # when, by Environment
        self._keys: dict[str, tuple[Share, str]] = {}

    async def look(self, names: Iterable[Names], seen: Outputs, *, only_new: bool = False) -> None:
        """Ask Azure, a call for each Environment. `seen` is what the loop last saw of each object.
        With `only_new` those that are known have their look later, because a save must not wait for
        a call to each of many Environments.

        Raises:
            ReconcileError: Azure does not answer, and never did before.
        """
        environments = {each.environment: each for each in names}
        for name in self._places.keys() - environments.keys():
            self._forget(name)
        for name, each in environments.items():
            if self._places.get(name) != (place := _place(each)):
                self._forget(name)
                self._places[name] = place
        known = {*self.found} if only_new else set()
        due = [each for name, each in environments.items() if name not in known]
        await asyncio.gather(*(self._look(each, seen) for each in due))
        old = time.monotonic() - FRESH
        left_out = environments.keys() & known
        self.aged = any(self._looked.get(name, -math.inf) < old for name in left_out)
        if self.aged:
            self.changed.set()

    def _forget(self, environment: str) -> None:
        for known in (self.found, self._keys, self._places, self._looked):
            known.pop(environment, None)

    def outdated(self) -> bool:
        """Whether an account's key is another than at the last look. Free of calls."""
        for name, (share, key) in self._keys.items():
            now = share.known_fingerprint
            if not key:
                self._keys[name] = (share, now)  # it could not be read then
            elif now != key:
                return True
        return False

    def why_not(self, key: ObjectKey) -> ReconcileError | None:
        """Why a registered share must not be corrected: its key has just been rotated, and another
        registration will replace it.
        """
        if key.kind != Kind.STORAGE or not self.outdated():
            return None
        message = "the key it was registered with was rotated; the share is registered again"
        return NotReadyYet(Reason.STORAGE_KEY_ROTATED, message)

    def events(self, names: Mapping[str, Names]) -> Iterator[Event]:
        """Events about rotations that have not been handled yet; `names` are the names as of
        now.
        """
        for name, found in self.found.items():
            if name in names and found.new:
                yield _registered_again(names[name])

    async def _look(self, names: Names, seen: Outputs) -> None:
        share, before = self.shares.open(share_of(names)), self.found.get(names.environment)
        share.on_new_key = self.changed.set
        try:
            key = await _key(share)
            registered = {} if self._being_made(names, key) else await self._registered(names)
            other = (
                await _other_key(share, names, registered[""], key, seen)
                if registered.keys() == {""}
                else ""
            )
        except RetryableError as error:
            if before is None:
                raise
            log.warning(
                "registered shares could not be listed", reason=error.reason, message=error.message
            )
            return
        self.found[names.environment] = choose(key, other, registered, before or Registered())
        self._keys[names.environment] = (share, key)
        self._looked[names.environment] = time.monotonic()

    def _being_made(self, names: Names, key: str) -> bool:
        """Whether the only registration can be the one that is being made with this key, so that no
        call is needed.
        """
        share = self.shares.open(share_of(names))
        written = share.mount_keys.get(mountkeys.path_of(names.managed_environment), {})
        return self.arm.inventory.is_new(self._scope(names)) and {*written.values()} <= {key}

    def _scope(self, names: Names) -> str:
        return ids.environment(
            self.arm.subscription_id, names.resource_group, names.managed_environment
        )

    async def _registered(self, names: Names) -> dict[str, list[str]]:
        """The modes in which this very share is registered, by what the names end in after the
        document's own. One that can be written to where ours cannot is somebody else's, and only
        mounted: its mode is empty.
        """
        scope = self._scope(names)
        pattern = re.compile(
            rf"{re.escape(names.storage)}(?:-(?P<rotation>[0-9a-f]{{{DIGITS}}}))?(?P<ending>-rw)?"
        )
        modes = {ending: mode for mode, (ending, _) in MODES.items()}
        found: dict[str, list[str]] = {}
        for each in await self.arm.inventory.list(Kind.STORAGE, scope):
            file, match = (
                each["properties"].get("azureFile") or {},
                pattern.fullmatch(str(each["name"]).lower()),
            )
            ours = (str(file.get("accountName")).lower(), str(file.get("shareName")).lower()) == (
                names.account,
                names.share,
            )
            if match and ours:
                mode = modes[match["ending"] or ""]
                theirs = str(file.get("accessMode")) != MODES[mode][1]
                found.setdefault(match["rotation"] or "", []).append("" if theirs else mode)
        return found


def _place(names: Names) -> _Place:
    """Which share it is, and where and under which name the document registers it."""
    return (
        names.resource_group,
        names.managed_environment,
        names.storage,
        names.account,
        names.share,
    )


def choose(
    key: str, other: str, registered: Mapping[str, Sequence[str]], before: Registered
) -> Registered:
    """What to mount from now on.

    `key` is the fingerprint of the account's key, empty when it cannot be read; `other` that of
    another key with which the document's own name was registered. `registered` has the modes of
    what is there by rotation, which is the beginning of a key's fingerprint, or nothing for the
    document's own name.
    """
    current, rotations = key[:DIGITS], sorted(registered.keys() - {""})
    if not key:
        return Registered(before.rotation or (rotations[0] if rotations else ""))
    moved = bool(rotations) or bool(other) or before.rotation == current
    rotation = current if moved else ""
    left = [
        (each, mode)
        for each in sorted(registered)
        if each != rotation
        for mode in registered[each]
        if mode
    ]
    return Registered(rotation, tuple(left), new=bool(registered) and rotation not in registered)


async def _key(share: Share) -> str:
    """The fingerprint of the account's key; empty while there is none, or none for us."""
    try:
        return await share.fingerprint()
    except ReconcileError as error:
        if isinstance(error, RetryableError) and not isinstance(error, Busy):
            raise
        return ""


async def _other_key(
    share: Share, names: Names, modes: Iterable[str], key: str, seen: Outputs
) -> str:
    """The key that the share was registered with under the document's own name, if that is known to
    be another than `key`.
    """
    noted: Mapping[str, str] | None = None
    for mode in modes if key else ():
        own = mode or "read"
        last = StorageOutputs.load(seen.get(storage_key(names, own), {}))
        made_with = last.registered_with if last else ""
        if not made_with:
            noted = await _noted(share, names) if noted is None else noted
            made_with = noted.get(names.storage + MODES[own][0], "")
        if made_with not in ("", key):
            return str(made_with)
    return ""


async def _noted(share: Share, names: Names) -> Mapping[str, str]:
    """What the share says; nothing when it is not there, or not for us."""
    try:
        return await mountkeys.noted(share, names.managed_environment)
    except RetryableError:
        raise
    except ReconcileError:
        return {}


def _registered_again(names: Names) -> Event:
    environment = DocumentRef("Environment", names.environment)
    message = (
        f"the key of storage account {names.account} was rotated: the share is registered again as"
        f" {names.storage}, and what mounts it moves there by a new revision; replicas that run"
        " keep their mounts, others may fail to start until then"
    )
    return warning(Reason.STORAGE_KEY_ROTATED, message, environment, environment)
