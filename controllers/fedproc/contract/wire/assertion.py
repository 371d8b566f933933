"""The form by which a machine signs in at an issuer (RFC 7523, ``private_key_jwt``)."""

from __future__ import annotations

import time
import uuid

from joserfc import jwt
from joserfc.jwk import ECKey

from fedproc.contract.wire.jws import ALGORITHM

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def client_assertion(client_id: str, audience: str, key: ECKey, issued: int | None = None) -> dict[str, str]:
    """Form fields that authenticate ``client_id`` at the token endpoint ``audience`` for the next minute."""
    now = int(time.time()) if issued is None else issued
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + 60,
    }
    header = {"alg": ALGORITHM, "kid": key.thumbprint()}
    return {
        "client_id": client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": jwt.encode(header, claims, key, algorithms=[ALGORITHM]),
    }
