"""The key that signs tokens for people's own APIs: RSA, as at Entra ID, because the APIs check
these tokens with the tenant's public keys.
"""

import base64
import hashlib
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .store import Store


class SigningKey:
    """Made when it is used for the first time, because most tokens are for Azure itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(_bytes(self._numbers.n)).hexdigest()[:16]

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def holds(self, data: bytes, signature: bytes) -> bool:
        try:
            self._key.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def public(self) -> dict[str, str]:
        """As a tenant's `discovery/v2.0/keys` lists it."""
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "n": _text(_bytes(self._numbers.n)),
            "e": _text(_bytes(self._numbers.e)),
        }

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        pem = self._store.setting("signingKey", _made)
        key = serialization.load_pem_private_key(pem.encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key

    @property
    def _numbers(self) -> rsa.RSAPublicNumbers:
        return self._key.public_key().public_numbers()


def _made() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
