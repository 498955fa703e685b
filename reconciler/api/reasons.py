"""Why a condition is as it is: one list of words, each explained for users in
docs/conditions.md.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """CamelCase words for programs. Where none fits, Azure's own error code stands in
    their place.
    """

    # all is well
    IN_SYNC = "InSync"
    PROVISIONED = "Provisioned"
    PUBLISHED = "Published"
    HEALTHY = "Healthy"
    LOADED = "Loaded"
    PROVEN = "Proven"
    SAME_AS_BASE = "SameAsBase"
    REACHABLE = "Reachable"
    ALL_GOOD = "AllGood"
    NO_DRIFT = "NoDrift"
    NOT_STALLED = "NotStalled"

    # on the way
    PROGRESSING = "Progressing"
    WAITING_FOR_REFERENCE = "WaitingForReference"
    OPERATION_IN_PROGRESS = "OperationInProgress"
    STORAGE_ACCOUNT_NOT_READY = "StorageAccountNotReady"
    ENVIRONMENT_HAS_CONTAINER_APPS = "EnvironmentHasContainerApps"
    STORAGE_IN_USE = "StorageInUse"
    CREATING = "Creating"
    UPDATING = "Updating"
    DELETING = "Deleting"
    PUBLISHING = "Publishing"
    ROLLING_OUT = "RollingOut"
    STARTING = "Starting"
    LOADING = "Loading"
    FETCHING = "Fetching"

    # known limits of what can be said
    SCALED_TO_ZERO = "ScaledToZero"
    NOT_OBSERVED = "NotObserved"
    REPORT_STALE = "ReportStale"
    OBSERVE_ONLY = "ObserveOnly"
    SKIPPED = "Skipped"
    NOT_LEADER = "NotLeader"

    # the documents
    INVALID_DOCUMENT = "InvalidDocument"
    SOURCE_UNREADABLE = "SourceUnreadable"
    ENVIRONMENT_IMMUTABLE = "EnvironmentImmutable"
    IMMUTABLE_FIELD = "ImmutableField"
    UNSUPPORTED_IMAGE = "UnsupportedImage"
    SUBSCRIPTION_MISMATCH = "SubscriptionMismatch"
    SOURCE_CHANGED = "SourceChanged"

    # a person decides
    AWAITING_APPROVAL = "AwaitingApproval"
    ROLLED_BACK = "RolledBack"
    PROMOTED = "Promoted"
    NOT_OWNED = "NotOwned"

    # trouble
    SIGN_IN_FAILED = "SignInFailed"
    LOGIN_UNREACHABLE = "LoginUnreachable"
    DRIFT_FOUND = "DriftFound"
    STORAGE_KEY_ROTATED = "StorageKeyRotated"
    DOES_NOT_CONVERGE = "DoesNotConverge"
    THROTTLED = "Throttled"
    TRANSPORT_FAILED = "TransportFailed"
    ANSWER_NOT_UNDERSTOOD = "AnswerNotUnderstood"
    OPERATION_FAILED = "OperationFailed"
    OPERATION_TIMED_OUT = "OperationTimedOut"
    MISSING = "Missing"
    PUBLISH_FAILED = "PublishFailed"
    PUBLISH_INCOMPLETE = "PublishIncomplete"
    FETCH_FAILED = "FetchFailed"
    CONTENT_DAMAGED = "ContentDamaged"
    REVISION_FAILED = "RevisionFailed"
    REPLICA_FAILED = "ReplicaFailed"
    MODEL_FAILED = "ModelFailed"
    ADAPTER_FAILED = "AdapterFailed"
    UNREACHABLE = "Unreachable"
    INTERNAL_ERROR = "InternalError"
