"""The keys with which hosts sign what they report."""

from __future__ import annotations

from typing import Any

from joserfc.jwk import ECKey

from fedproc.common.errors import UnreadableError
from fedproc.common.keys import load_key

_keys: dict[str, dict[str, ECKey]] = {}


def trusted(jwk: dict[str, Any]) -> dict[str, ECKey]:
    """A host's key by its thumbprint. Parsed keys are kept: reading one costs more than verifying with it."""
    name = f"{jwk.get('x')}.{jwk.get('y')}"
    if name not in _keys:
        try:
            key = load_key({part: jwk[part] for part in ("kty", "crv", "x", "y")})
        except (ValueError, KeyError) as error:
            raise UnreadableError(f"the host's enrolled key cannot be used: {error}", code="unreadable.key") from error
        _keys[name] = {key.thumbprint(): key}
    return _keys[name]
