"""The filter ``p256_jwk``: a P-256 public key in PEM as a JWK (RFC 7517) whose kid is its thumbprint (RFC 7638)."""

import base64
import hashlib
import json
import re

from ansible.errors import AnsibleFilterError

_HEADER = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""what comes before the 65 bytes of the point in a SubjectPublicKeyInfo of P-256 (RFC 5480)"""


def p256_jwk(pem: str) -> dict[str, str]:
    """Raises AnsibleFilterError for anything else than the public half of a P-256 key."""
    found = re.fullmatch(r"-----BEGIN PUBLIC KEY-----([\sA-Za-z0-9+/=]+)-----END PUBLIC KEY-----", str(pem).strip())
    der = base64.b64decode(found[1]) if found else b""
    if len(der) != 91 or not der.startswith(_HEADER) or der[26] != 4:
        raise AnsibleFilterError("this is no public P-256 key in PEM; openssl pkey -pubout writes one")
    jwk = {"crv": "P-256", "kty": "EC", "x": _base64url(der[27:59]), "y": _base64url(der[59:91])}
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    return {**jwk, "kid": _base64url(hashlib.sha256(canonical).digest()), "use": "sig", "alg": "ES256"}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class FilterModule:
    """Makes it known to Ansible."""

    def filters(self) -> dict[str, object]:
        return {"p256_jwk": p256_jwk}
