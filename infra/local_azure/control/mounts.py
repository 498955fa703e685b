"""Where the volumes of an app or a job lie on this machine, and the environment variables of its
containers. Used by `workloads` and `jobs`.
"""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from infra.local_azure.files.share_records import ACCOUNT
from infra.local_azure.files.tree import Tree
from infra.local_azure.runtime.workload import Mount
from infra.local_azure.smb.server import STREAM_RATE
from infra.local_azure.store import Record, Store

Body = dict[str, Any]


class MountError(Exception):
    """Why a container cannot start: kubelet's reason, and the message of Azure's event."""

    def __init__(self, message: str, reason: str = "FailedMount") -> None:
        super().__init__(message)
        self.reason = reason


class Mounts:
    """Resolves volumes through the storages of a managed environment. `share_view` is how replicas
    see a share: `plain`, or `smb` as over SMB.
    """

    def __init__(self, store: Store, tree: Tree, share_view: str) -> None:
        self._store = store
        self._tree = tree
        self._share_view = share_view

    def of(
        self, environment: str, template: Body, container: Body, secrets: Body
    ) -> tuple[Mount, ...]:
        """The mounts of one container that starts now.

        EmptyDir volumes, and those with the `secrets` as files, belong to the replica alone.
        """
        volumes = {volume["name"]: volume for volume in template["volumes"] or []}
        mounts = []
        for entry in container.get("volumeMounts", []):
            volume = volumes[entry["volumeName"]]
            kind = volume.get("storageType") or "EmptyDir"
            files = _files(volume, secrets) if kind == "Secret" else ()
            if kind in {"EmptyDir", "Secret"}:
                source, read_only, smb = (
                    Path("secret" if files else "empty", volume["name"]),
                    kind == "Secret",
                    None,
                )
            else:
                source, read_only, rate = self._share(environment, volume)
                options = [str(volume.get("mountOptions") or ""), f"{STREAM_RATE}={rate}"]
                smb = ",".join(options if rate else options[:1])
                smb = smb if self._share_view == "smb" else None
            below = str(entry.get("subPath") or "").strip("/")
            target = "/" + entry["mountPath"].lstrip("/")
            mounts.append(Mount(source / below if below else source, target, read_only, smb, files))
        return tuple(mounts)

    def _share(self, environment: str, volume: Body) -> tuple[Path, bool, float]:
        """The directory behind an environment storage, opened with the key that is registered
        there; whether it is read-only, and how many bytes a second each stream reads (0: all).
        """
        storage = self._store.get(f"{environment}/storages/{volume['storageName']}")
        if storage is None:
            raise _failed(
                volume, f"storage '{volume['storageName']}' is not registered in the environment"
            )
        file = storage.body["azureFile"]
        account = self._account(file["accountName"])
        where = (
            f"mount //{file['accountName']}.file.core.windows.net/{file['shareName']} failed: exit"
            " status 32\nOutput: mount error"
        )
        share = (
            self._store.get(f"{account.id}/fileServices/default/shares/{file['shareName']}")
            if account
            else None
        )
        if account is None or share is None:
            raise _failed(volume, f"{where}(2): No such file or directory")
        if self._scripted("unreachable", f"{account.name}/{share.name}"):
            raise _failed(volume, f"{where}(112): Host is down")
        # A storage registered with an older key cannot be mounted (azure-container-apps#1406).
        refused = storage.private["key"] not in (account.private["key1"], account.private["key2"])
        if refused or (
            storage.private.get("rekeyed")
            and self._scripted("stale-keys", f"{account.name}/{share.name}")
        ):
            raise _failed(volume, f"{where}(13): Permission denied")
        return (
            self._tree.ensure(account.name, share.name),
            file["accessMode"] == "ReadOnly",
            self._rate(f"{account.name}/{share.name}"),
        )

    def _scripted(self, kept: str, share: str) -> bool:
        """Whether an active fault names the share; `faults.standing` keeps their patterns."""
        return any(
            fnmatchcase(share, pattern) for pattern in json.loads(self._store.read(kept) or "[]")
        )

    def _rate(self, share: str) -> float:
        rates = json.loads(self._store.read("slow-streams") or "{}")
        return next((rate for pattern, rate in rates.items() if fnmatchcase(share, pattern)), 0.0)

    def _account(self, name: str) -> Record | None:
        accounts = self._store.each(ACCOUNT)
        return next((account for account in accounts if account.name.lower() == name.lower()), None)


def _files(volume: Body, secrets: Body) -> tuple[tuple[str, str], ...]:
    """The secrets that a volume names, each under its path; all of them under their names when it
    names none.
    """
    chosen = volume.get("secrets") or [{"secretRef": name} for name in secrets]
    return tuple(
        (str(item.get("path") or item["secretRef"]), str(secrets.get(item["secretRef"], "")))
        for item in chosen
    )


def _failed(volume: Body, why: str) -> MountError:
    return MountError(
        f'MountVolume.SetUp failed for volume "{volume["name"]}" : rpc error: code = Internal desc'
        f" = {why}"
    )


def environment(container: Body, secrets: Body) -> dict[str, str]:
    """Plain values and resolved secrets. If a name is given twice, Azure does not start the
    container and gives no reason.
    """
    entries = container.get("env", [])
    if len({entry["name"] for entry in entries}) != len(entries):
        raise MountError(
            f"Container '{container['name']}' could not be created.", "CreateContainerError"
        )
    return {
        str(entry["name"]): str(
            secrets.get(entry["secretRef"], "")
            if entry.get("secretRef")
            else entry.get("value", "")
        )
        for entry in entries
    }
