"""A managed environment's document: its fields, what a write makes of them, and how each
api-version shows it.
"""

import base64
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import Certificate, load_pem_x509_certificate

from infra.local_azure import clock
from infra.local_azure.arm.call import Call
from infra.local_azure.arm.errors import bad_request
from infra.local_azure.arm.shape import NEVER, OMITTED, Field, Shape
from infra.local_azure.control import tracked
from infra.local_azure.control.records import Records
from infra.local_azure.regions import normal
from infra.local_azure.store import Record

from . import workload_profiles

TYPE = "Microsoft.App/managedEnvironments"
LABELS = ("tags", "kind", "identity")
Body = dict[str, Any]
_TRIAL, _LATER = "2024-02-02-preview", "2024-10-02"
_ENABLED = Shape((Field("enabled", "flag"),))
_LOGS = Shape(
    (
        Field("customerId"),
        Field("sharedKey"),
        Field("dynamicJsonColumns", "flag", stable=NEVER, preview=_TRIAL),
    )
)
_NETWORK = Shape(
    (
        Field("internal", "flag"),
        Field("infrastructureSubnetId"),
        Field("dockerBridgeCidr"),
        Field("platformReservedCidr"),
        Field("platformReservedDnsIP"),
    )
)
_DOMAIN = Shape(
    (
        Field("customDomainVerificationId"),
        Field("dnsSuffix"),
        Field("certificateKeyVaultProperties", "any", stable="2025-01", preview=_TRIAL),
        Field("certificateValue"),
        Field("certificatePassword"),
        Field("thumbprint"),
        Field("subjectName"),
        Field("expirationDate"),
    )
)
_HEADERS = Shape((Field("key"), Field("value")))
_OTLP = Shape(
    (
        Field("name"),
        Field("endpoint"),
        Field("insecure", "flag"),
        Field("headers", of=_HEADERS, many=True),
    )
)
_TARGETS = Shape(
    (Field("dataDogConfiguration", "any"), Field("otlpConfigurations", of=_OTLP, many=True))
)
_TELEMETRY = Shape(
    (
        Field("destinationsConfiguration", of=_TARGETS),
        Field(
            "tracesConfiguration",
            of=Shape((Field("includeDapr", "flag"), Field("destinations", many=True))),
        ),
        Field("logsConfiguration", of=Shape((Field("destinations", many=True),))),
        Field(
            "metricsConfiguration",
            of=Shape((Field("includeKeda", "flag"), Field("destinations", many=True))),
        ),
    )
)
_PROFILE = Shape(
    (
        Field("workloadProfileType"),
        Field("name"),
        Field("enableFips", "flag", OMITTED, stable=NEVER, preview=_LATER),
        Field("minimumCount", "whole", OMITTED),
        Field("maximumCount", "whole", OMITTED),
    )
)
_WRITTEN = (
    Field("daprAIInstrumentationKey"),
    Field("daprAIConnectionString"),
    Field("vnetConfiguration", of=_NETWORK),
    Field(
        "appLogsConfiguration",
        of=Shape((Field("destination"), Field("logAnalyticsConfiguration", of=_LOGS))),
    ),
    Field("appInsightsConfiguration", "any", stable=NEVER, preview="2023-08"),
    Field("openTelemetryConfiguration", of=_TELEMETRY, stable=NEVER, preview="2023-08"),
    Field("zoneRedundant", "flag"),
    Field("availabilityZones", "any", stable=NEVER, preview=_LATER),
    Field("diskEncryptionConfiguration", "any", stable=NEVER, preview=_LATER),
    Field("customDomainConfiguration", of=_DOMAIN),
    Field("workloadProfiles", of=_PROFILE, many=True),
    Field("infrastructureResourceGroup"),
    Field("peerAuthentication", of=Shape((Field("mtls", of=_ENABLED),))),
    Field(
        "peerTrafficConfiguration",
        of=Shape((Field("encryption", of=_ENABLED),)),
        stable="2024-02",
        preview="2024-02",
    ),
    Field("ingressConfiguration", "any", OMITTED, stable="2025-07", preview="2025-02"),
    Field(
        "publicNetworkAccess", words=("Enabled", "Disabled"), stable="2025-07", preview="2024-08"
    ),
)
_SENT = Shape(_WRITTEN)
_SHOWN = Shape(
    (
        Field("provisioningState"),
        Field("deploymentErrors", empty=OMITTED),
        Field("defaultDomain"),
        Field("staticIp", empty=OMITTED),
        *_WRITTEN,
        Field("kedaConfiguration", of=Shape((Field("version"),))),
        Field("daprConfiguration", of=Shape((Field("version"),))),
        Field("eventStreamEndpoint"),
        Field("firstPartyConfiguration", "any", stable=NEVER, until="2024"),
    )
)
_AS_SENT = (
    "availabilityZones",
    "infrastructureResourceGroup",
    "ingressConfiguration",
)
_IMMUTABLE = ("vnetConfiguration", "zoneRedundant")


def settings(sent: Body, place: str, before: Body | None, record: Record) -> Body:
    """What is stored of a write: complete, secrets moved aside into the record's private part,
    immutables checked.
    """
    given = _SENT.read(sent)
    own: Body = {
        "vnetConfiguration": (
            {"internal": False, **given["vnetConfiguration"]}
            if given.get("vnetConfiguration")
            else None
        ),
        "appLogsConfiguration": _logs(given.get("appLogsConfiguration") or {}, record),
        "zoneRedundant": given.get("zoneRedundant", False),
        "workloadProfiles": workload_profiles.settle(given.get("workloadProfiles"), place),
        "customDomainConfiguration": _domain(given.get("customDomainConfiguration") or {}, before),
        "openTelemetryConfiguration": _telemetry(given.get("openTelemetryConfiguration")),
        "peerAuthentication": given.get("peerAuthentication") or {"mtls": {"enabled": False}},
        "peerTrafficConfiguration": (
            given.get("peerTrafficConfiguration") or {"encryption": {"enabled": False}}
        ),
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
        # A connection string is a secret: what was sent is seen, its value is not.
        "appInsightsConfiguration": (
            {"connectionString": None} if given.get("appInsightsConfiguration") else None
        ),
        **{name: given.get(name) for name in _AS_SENT},
    }
    if own["vnetConfiguration"] and not own["infrastructureResourceGroup"]:
        own["infrastructureResourceGroup"] = f"ME_{record.name}_{record.group}_{normal(place)}"
    for name in _IMMUTABLE:
        if before is not None and sent.get(name) is not None and own[name] != before[name]:
            text = (
                f"The property '{name}' of a managed environment cannot be changed after it was"
                " created."
            )
            raise bad_request("ManagedEnvironmentPropertyCannotBeChanged", text)
        if before is not None:
            own[name] = before[name]
    return own


def view(call: Call, record: Record, *, created: bool = False) -> Body:
    """What a GET returns; the answer to a creation writes its instants with a Z and does not know
    everything yet.
    """
    stored, private = record.body["properties"], record.private
    fresh = created and any(
        entry["workloadProfileType"].startswith("NC") for entry in stored["workloadProfiles"] or []
    )
    document = {
        **stored,
        **tracked.failure(record),
        "defaultDomain": private["domain"],
        "staticIp": None if created and (fresh or stored["vnetConfiguration"]) else "127.0.0.1",
        "kedaConfiguration": {"version": None if fresh else "2.17.2"},
        "daprConfiguration": {"version": None if fresh else "1.13.6"},
        "eventStreamEndpoint": (
            f"{call.base}{record.id.replace('/providers/Microsoft.App', '')}/eventstream"
        ),
        # An object even where null was sent, as in every recording.
        "customDomainConfiguration": {
            **(stored.get("customDomainConfiguration") or {}),
            "customDomainVerificationId": private["verification"],
        },
    }
    if document["workloadProfiles"]:
        document["workloadProfiles"] = [
            {"enableFips": False, **entry} for entry in document["workloadProfiles"]
        ]
    logs = document["appLogsConfiguration"]
    if logs["logAnalyticsConfiguration"]:
        analytics = {"dynamicJsonColumns": False, **logs["logAnalyticsConfiguration"]}
        document["appLogsConfiguration"] = {**logs, "logAnalyticsConfiguration": analytics}
    shown = {
        "id": record.id,
        "name": record.name,
        "type": TYPE,
        "location": record.body["location"],
    }
    rest = {key: record.body[key] for key in LABELS if record.body.get(key)}
    data = record.body["systemData"]
    # Only the answer to a write has the Z; a GET has the same instant without it (recorded).
    if created:
        data = {key: f"{value}Z" if key.endswith("At") else value for key, value in data.items()}
    return {
        **shown,
        **rest,
        "systemData": data,
        "properties": _SHOWN.render(document, call.version),
    }


def label(records: Records, body: Body, record: Record) -> Body:
    """Tags, kind and identity, where there are any."""
    identity = records.managed_identity(body, record.id)
    records.require_identities(identity, record.id, record.body.get("identity"))
    labels: Body = {"tags": tags} if (tags := tracked.tags(body)) else {}
    labels |= {"kind": body["kind"]} if body.get("kind") else {}
    return labels if identity["type"] == "None" else {**labels, "identity": identity}


def _logs(sent: Body, record: Record) -> Body:
    analytics = sent.get("logAnalyticsConfiguration") or None
    if sent.get("destination") == "log-analytics":
        key = (analytics or {}).get("sharedKey") or record.private.get("sharedKey")
        if not (analytics or {}).get("customerId") or not key:
            text = (
                "LogAnalyticsConfiguration is invalid. Must provide a valid"
                " LogAnalyticsConfiguration"
            )
            raise bad_request("InvalidLogAnalyticsConfiguration", text)
        record.private["sharedKey"] = key
    shown = {**analytics, "sharedKey": None} if analytics else None
    return {"destination": sent.get("destination"), "logAnalyticsConfiguration": shown}


def _telemetry(sent: Body | None) -> Body | None:
    """Header values and keys are secrets; a signal that goes nowhere is not configured."""
    if not sent:
        return None
    shown: Body = {}
    targets = dict(sent.get("destinationsConfiguration") or {})
    targets["otlpConfigurations"] = [
        {**entry, "headers": [{"key": header.get("key")} for header in entry.get("headers") or []]}
        for entry in targets.get("otlpConfigurations") or []
    ]
    if targets.get("dataDogConfiguration"):
        targets["dataDogConfiguration"] = {**targets["dataDogConfiguration"], "key": None}
    for name, extra in (
        ("tracesConfiguration", "includeDapr"),
        ("logsConfiguration", ""),
        ("metricsConfiguration", "includeKeda"),
    ):
        if (sent.get(name) or {}).get("destinations"):
            shown[name] = {**({extra: False} if extra else {}), **sent[name]}
    return {"destinationsConfiguration": targets, **shown}


def _domain(sent: Body, before: Body | None) -> Body:
    """The DNS suffix with what its certificate says; a certificate that was sent once stays until
    another comes.
    """
    known = (before or {}).get("customDomainConfiguration") or {}
    if not sent.get("dnsSuffix"):
        return {}
    if not sent.get("certificateValue"):
        return {
            **{
                key: known[key]
                for key in ("thumbprint", "subjectName", "expirationDate")
                if key in known
            },
            **_suffix(sent),
        }
    certificate = _certificate(sent["certificateValue"], sent.get("certificatePassword") or "")
    return {
        **_suffix(sent),
        "thumbprint": certificate.fingerprint(hashes.SHA1()).hex().upper(),  # noqa: S303 - Azure shows this one
        "subjectName": certificate.subject.rfc4514_string(),
        "expirationDate": clock.offset(certificate.not_valid_after_utc.timestamp()),
    }


def _suffix(sent: Body) -> Body:
    """What names the domain, and where its certificate is kept."""
    return {
        name: sent[name]
        for name in ("dnsSuffix", "certificateKeyVaultProperties")
        if sent.get(name)
    }


def _certificate(text: str, password: str) -> Certificate:
    try:
        raw = base64.b64decode(text, validate=True)
        found = load_pem_x509_certificate(raw) if b"-----BEGIN" in raw else _from_pfx(raw, password)
    except ValueError:
        found = None
    if found is None:
        raise bad_request(
            "CertificateInvalid",
            "The certificate is not a valid PFX or PEM, or its password is wrong.",
        )
    return found


def _from_pfx(raw: bytes, password: str) -> Certificate | None:
    return pkcs12.load_key_and_certificates(raw, password.encode() or None)[1]
