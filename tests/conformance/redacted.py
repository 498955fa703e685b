"""What the recordings leave out of requests, because it was secret: real ones of this machine stand
in for it.
"""

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

_PASSWORD = "conformance"


def keys(path: str, body: Any) -> dict[str, str]:
    """The key that this local Azure gave to a storage account, by the account's name."""
    parts = path.lower().split("/")
    if parts[-1] != "listkeys" or not isinstance(body, dict) or not body.get("keys"):
        return {}
    return {parts[-2]: body["keys"][0]["value"]}


def restored(sent: Any, known: dict[str, str]) -> Any:
    """The request with real account keys and a real certificate."""
    if isinstance(sent, list):
        return [restored(entry, known) for entry in sent]
    if not isinstance(sent, dict):
        return sent
    whole = {name: restored(value, known) for name, value in sent.items()}
    if "accountKey" in whole and str(whole.get("accountName")).lower() in known:
        whole["accountKey"] = known[str(whole["accountName"]).lower()]
    if whole.get("certificateValue") == "REDACTED":
        whole |= {"certificateValue": _certificate(), "certificatePassword": _PASSWORD}
    return whole


@cache
def _certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "conformance")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
    )
    certificate = (
        builder.not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    lock = serialization.BestAvailableEncryption(_PASSWORD.encode())
    return base64.b64encode(
        pkcs12.serialize_key_and_certificates(b"conformance", key, certificate, None, lock)
    ).decode()
