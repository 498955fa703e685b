"""The reasons of conditions and events. `Reason` holds each reason of Moorage's own, with its
cause and remedy; docs/conditions.md is generated from it. `AzureCode` is a code of Azure.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

AZURE = "Azure:"


class Reason(StrEnum):
    """A word for programs, its cause for people, and the remedy (empty: there is nothing to do)."""

    _value_: str
    cause: str
    remedy: str

    def __new__(cls, word: str, cause: str = "", remedy: str = "") -> Self:
        member = str.__new__(cls, word)
        member._value_, member.cause, member.remedy = word, cause, remedy
        return member

    # all is well
    IN_SYNC = "InSync", "nothing differs from the document"
    PROVISIONED = "Provisioned", "the resources exist"
    PUBLISHED = "Published", "all files are complete on the share"
    HEALTHY = "Healthy", "the revision and its replicas are healthy"
    LOADED = "Loaded", "every replica reports it loaded"
    PROVEN = "Proven", "a replica compared answers and the adapter had an effect"
    REACHABLE = "Reachable", "the endpoint answered"
    ALL_GOOD = "AllGood", "every part of the summary is true"
    READY = "Ready", "the document became ready (an event)"
    LEADING = "Leading", "this daemon holds the Environment's lease again, and writes (an event)"
    NO_DRIFT = "NoDrift", "nobody but Moorage has changed the resources"
    NOT_STALLED = "NotStalled", "the daemon is at work, or done"

    # on the way
    PROGRESSING = "Progressing", "changes are being applied", "wait"
    WAITING_FOR_REFERENCE = "WaitingForReference", "the named resource must be ready first", "wait"
    OPERATION_IN_PROGRESS = (
        "OperationInProgress",
        "an operation on the resource is running; somebody else may have started it",
        "wait",
    )
    STORAGE_ACCOUNT_NOT_READY = "StorageAccountNotReady", "it does not return its keys yet", "wait"
    ENVIRONMENT_HAS_CONTAINER_APPS = (
        "EnvironmentHasContainerApps",
        "the managed environment still holds container apps, which are deleted first",
        "wait",
    )
    STORAGE_IN_USE = (
        "StorageInUse",
        "a container app, which the message names, still mounts a share whose key was rotated",
        "wait",
    )
    REGISTERING = (
        "Registering",
        "the subscription is being registered, once, for the resource provider in the message",
        "wait a minute or two",
    )
    CREATING = "Creating", "the resource is being created", "wait"
    UPDATING = "Updating", "the resource is being changed", "wait"
    DELETING = "Deleting", "the resource is being deleted", "wait"
    PUBLISHING = "Publishing", "files are being uploaded", "wait"
    ROLLING_OUT = "RollingOut", "a new revision is starting; the old one still serves", "wait"
    STARTING = "Starting", "the replica is pulling, starting or reading the model", "wait"
    LOADING = "Loading", "a replica is loading a model or an adapter", "wait"
    FETCHING = (
        "Fetching",
        "a source is on its way: a job fetches a model from a hub onto the share (the message says"
        " how far it is), the hub is being asked, or somebody still writes to the folder on the"
        " share",
        "wait",
    )

    # no statement is possible, or no action is wanted
    SCALED_TO_ZERO = (
        "ScaledToZero",
        "no replica runs, because `minReplicas` is 0; `Ready` keeps its last status",
        "send a request to start a replica",
    )
    NOT_OBSERVED = "NotObserved", "nothing has been observed yet, or not for two minutes", "wait"
    REPORT_STALE = (
        "ReportStale",
        "a replica that Azure lists has not reported for 45 s",
        "wait; then `moorage logs`",
    )
    REPORT_UNREADABLE = (
        "ReportUnreadable",
        "the report of a replica cannot be read: it has the wrong form, is too long or is nested"
        " too deeply; the message names the replica",
        "`moorage logs`; restart the replica. Another program than Moorage's may run in it",
    )
    OBSERVE_ONLY = (
        "ObserveOnly",
        "`reconcilePolicy: Observe`, or paused: differences are reported, nothing is written",
        "nothing; or `moorage resume`, `moorage accept`, `reconcilePolicy: Manage`",
    )
    SKIPPED = "Skipped", "`reconcilePolicy: Skip`", "remove `Skip` to have it managed"
    NOT_LEADER = (
        "NotLeader",
        "another daemon holds the Environment's lease; the message says where, and since when",
        "nothing: the other daemon writes. Stop it if this one should",
    )
    LEASE_EXPIRED = (
        "LeaseExpired",
        "the lease expired before the daemon renewed it, for example during a suspend",
        "wait: the daemon asks for the lease again at once",
    )

    # the documents
    INVALID_DOCUMENT = (
        "InvalidDocument",
        "the saved file has an error; the last valid version keeps running",
        "correct the file at the place in the message",
    )
    AMBIGUOUS_MODEL = (
        "AmbiguousModel",
        "several services of an Environment with a gateway have an adapter of one name (an event)",
        "ask for it as `service/adapter`, or rename one",
    )
    GATEWAY_UNSUPPORTED = (
        "GatewayUnsupported",
        "the Environment asks for a gateway, whose modules are compiled for Linux x86_64, and the"
        " daemon runs elsewhere; an existing gateway stays as it is",
        "run the daemon on Linux x86_64, in its container image for example",
    )
    SOURCE_UNREADABLE = (
        "SourceUnreadable",
        "a file, a folder or a secret cannot be read; nothing is deleted because of this",
        "restore it",
    )
    SOURCE_CHANGED = (
        "SourceChanged",
        "a local folder changed while it was published; it is read again",
        "wait",
    )
    ENVIRONMENT_IMMUTABLE = (
        "EnvironmentImmutable",
        "a service cannot move to another Environment, and an Environment cannot be renamed",
        "put the old name back, or delete the resources and create them again",
    )
    IMMUTABLE_FIELD = (
        "ImmutableField",
        "Azure cannot change this field of an existing resource",
        "put the old value back, or delete the resource and create it again",
    )
    SUBSCRIPTION_MISMATCH = (
        "SubscriptionMismatch",
        "the document names another subscription than the settings",
        "correct one of them",
    )

    # a person decides
    AWAITING_APPROVAL = (
        "AwaitingApproval",
        "the next step deletes or replaces something, or `syncPolicy.automated` is false",
        "read `moorage plan`, then `moorage approve`; or set `prune: true` or `automated: true`",
    )
    ROLLED_BACK = (
        "RolledBack",
        "a new revision, a new version of an adapter, or a canary failed and was rolled back; the"
        " former one serves, and the document still asks for the new one",
        "the message says why; change the spec (or the adapter) and save to try again",
    )
    PAUSED = (
        "Paused",
        "a step of a rollout lasts until its `pause` is over",
        "wait, or `moorage promote`",
    )
    AWAITING_PROMOTION = (
        "AwaitingPromotion",
        "a step of a rollout lasts until a person decides; both revisions serve",
        "`moorage promote`, or `moorage rollback`",
    )
    DECIDED = "Decided", "a person decided something; the message says who and what (an event)"
    PROMOTED = (
        "Promoted",
        "a canary serves under its adapter's name and the document still calls it a canary",
        "make the edit in the message",
    )
    NOT_OWNED = (
        "NotOwned",
        "the resource exists, Moorage did not create it, and no document names it",
        "choose another name, or name it in the Environment; for a container app, write"
        " [`adoptionPolicy: AdoptOrCreate`](documents.md#adopting-an-existing-container-app)",
    )
    OWNED_BY_ANOTHER = (
        "OwnedByAnother",
        "the resource belongs to another set of documents; the message names the set and where it"
        " was last applied from",
        "choose another name; or run `moorage take-over` with the id of the other set",
    )

    # the end of an object or a document
    DELETED = "Deleted", "the object, or everything of the document, is deleted"
    RETAINED = (
        "Retained",
        "no document asks for the resource, and it stays because it holds data, or because of"
        " `deletionPolicy: Retain` or its `reconcilePolicy`",
        "delete the resource by hand if nobody needs it",
    )
    RELEASED = (
        "Released",
        "no document asks for an adopted resource; it keeps running, without Moorage's tags",
    )
    GARBAGE_COLLECTED = "GarbageCollected", "an unused folder on the share was deleted (an event)"

    # trouble
    NOT_READY = (
        "NotReady",
        "the document was ready and is no longer ready (an event)",
        "see the message",
    )
    SIGN_IN_FAILED = "SignInFailed", "the credential was refused", "check the credential's settings"
    LOGIN_UNREACHABLE = (
        "LoginUnreachable",
        "the login host does not answer",
        "check the network and MOORAGE_AUTHORITY",
    )
    AZURE_UNREACHABLE = (
        "AzureUnreachable",
        "Azure does not answer, or answers 5xx without a code",
        "wait; check the network and MOORAGE_ARM_ENDPOINT",
    )
    ANSWER_NOT_UNDERSTOOD = (
        "AnswerNotUnderstood",
        "the answer is not what Azure sends",
        "check MOORAGE_ARM_ENDPOINT and any proxy",
    )
    THROTTLED = "Throttled", "Azure asked to slow down", "wait"
    OPERATION_FAILED = (
        "OperationFailed",
        "a long-running operation failed or was cancelled, and Azure gave no code",
        "wait: it is tried again; the Activity Log in Azure's portal may say more",
    )
    IMAGE_NOT_FOUND = (
        "ImageNotFound",
        "the registry has no such image or tag; the former revision keeps serving",
        "correct the image and its tag, or push the image: Moorage tries again by itself",
    )
    REGISTRY_DENIED = (
        "RegistryDenied",
        "the registry does not let Azure pull the image; the former revision keeps serving",
        "give the app's identity or user the right to pull at the registry, or correct the image",
    )
    VAULT_DENIED = (
        "VaultDenied",
        "an identity cannot read a secret of a Key Vault, or the vault has no such secret",
        "give it the role Key Vault Secrets User, or correct the secret's name or version",
    )
    ENVIRONMENT_FAILED = (
        "EnvironmentFailed",
        "Azure calls the managed environment Failed; it is written again, which brings it back in"
        " most cases",
        "wait; if it stays, read Azure's words in the message, then delete and create it again",
    )
    DRIFT_FOUND = (
        "DriftFound",
        "somebody else changed the fields in the message",
        "nothing: the daemon corrects them, unless `reconcilePolicy` is Observe or"
        " `syncPolicy.automated` is false",
    )
    STORAGE_KEY_ROTATED = (
        "StorageKeyRotated",
        "the storage account has another key: the share is registered again and services move to"
        " the new registration by a new revision",
        "wait; [more](operations.md#keys)",
    )
    DOES_NOT_CONVERGE = (
        "DoesNotConverge",
        "the same difference survived three writes",
        "find out whether something else writes the resource; otherwise report the fault",
    )
    MISSING = (
        "Missing",
        "a resource, or a folder on the share, does not exist",
        "wait if it is a resource: Moorage creates it again. Upload a folder yourself",
    )
    PUBLISH_INCOMPLETE = (
        "PublishIncomplete",
        "a file on the share differs from the file that was sent; it is uploaded again",
        "wait; something else may be writing to the folder",
    )
    CONTENT_DAMAGED = (
        "ContentDamaged",
        "a published file was changed by somebody else; it is published again",
        "wait",
    )
    FETCH_FAILED = (
        "FetchFailed",
        "a job could not fetch a model; it is tried again",
        "wait, or correct the source if the message blames it",
    )
    REPO_NOT_FOUND = (
        "RepoNotFound",
        "the hub has no such repository, or it is private",
        "correct the source, or set HF_TOKEN",
    )
    GATED_REPO = (
        "GatedRepo",
        "the repository opens only after its licence is accepted",
        "accept the licence on the hub, and set HF_TOKEN",
    )
    REVISION_NOT_FOUND = (
        "RevisionNotFound",
        "the repository has no such revision",
        "correct the part after the @",
    )
    UNAUTHORIZED = "Unauthorized", "the hub refused the token", "correct HF_TOKEN"
    NO_WEIGHTS = (
        "NoWeights",
        "the repository holds no weights that vLLM reads",
        "choose another repository",
    )
    BAD_NAME = (
        "BadName",
        "a file's name in the repository cannot be written to a share",
        "choose another repository",
    )
    REVISION_FAILED = (
        "RevisionFailed",
        "a revision does not start; the message has Azure's words, the container's last lines of"
        " output, and which revision still serves",
        "correct what the message names; `moorage logs` shows more",
    )
    REVISION_INACTIVE = (
        "RevisionInactive",
        "the revision that has the traffic is inactive, so that no request is answered",
        "wait: it is activated, or the new one boots (`Recreate`)",
    )
    ADAPTER_FAILED = (
        "AdapterFailed",
        "a version of an adapter cannot be served; the one before it is, if there was one",
        "correct the adapter by the message, and save it again",
    )
    SAME_AS_BASE = (
        "SameAsBase",
        "an adapter is loaded and changes nothing: it answers like the base model",
        "train the adapter longer, or check that its folder is the right one",
    )
    ADAPTER_NOT_SERVED = (
        "AdapterNotServed",
        "a replica serves no version of an adapter that served before",
        "see the message; `moorage adapter list` shows the versions",
    )
    REPLICAS_MISSING = (
        "ReplicasMissing",
        "the service has fewer ready replicas than `minReplicas`, or one of its replicas fails;"
        " the message says why: quota and what is left of it, capacity, or a crash",
        "ask for quota, or lower `minReplicas`; for a crash `moorage logs`",
    )
    UNREACHABLE = (
        "Unreachable",
        "the service's endpoint does not answer, or the ingress answers in its place",
        "`moorage logs`; check that the app listens on its `targetPort`",
    )
    OUT_OF_REACH = (
        "OutOfReach",
        "the daemon's own network keeps it from the ingress of the service's environment, so it"
        " does not know whether the endpoint answers; nothing is rolled back for it",
        "let the daemon's machine reach the endpoint: check proxy, firewall and DNS",
    )
    INTERNAL_ERROR = "InternalError", "a fault in Moorage; all other work continues", "report it"
    STATE_NOT_KEPT = (
        "StateNotKept",
        "the daemon's state directory cannot be read or written; the daemon continues from memory"
        " (an event)",
        "free some disk space, or correct the rights of the directory",
    )
    NOTICE_NOT_SENT = (
        "NoticeNotSent",
        "the receiver did not accept a notice (an event)",
        "run `moorage notify`",
    )
    RECOVERED = "Recovered", "a check that had failed works again (an event)"


class AzureCode(str):
    """A code of Azure as a reason, such as `Azure:ScopeLocked`. The prefix tells Azure's
    `InternalError` from Moorage's.
    """

    __slots__ = ()

    def __new__(cls, code: str) -> Self:
        """`code` with or without the prefix; what no reason may contain is left out."""
        plain = re.sub(r"[^\w.-]", "", code.removeprefix(AZURE), flags=re.ASCII)[:100]
        return super().__new__(cls, AZURE + plain)


Cause = Reason | AzureCode


def read_reason(text: str) -> Cause:
    """The reason that was written as `text`; a ValueError where this release has none."""
    return AzureCode(text) if text.startswith(AZURE) else Reason(text)
