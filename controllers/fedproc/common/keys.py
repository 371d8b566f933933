"""Keys: the one place that reads them (P-256, PEM or JWK; RFC 7517, RFC 7638), and what signs with them.

``kid`` is always a key's RFC 7638 thumbprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from fedproc.common.errors import InvalidInputError

ALGORITHM = "ES256"


def load_key(pem_or_jwk: bytes | str | Mapping[str, Any]) -> ECKey:
    """A P-256 key from PEM or JWK. Raises ValueError for any other kind of key."""
    try:
        key = ECKey.import_key(pem_or_jwk)  # type: ignore[arg-type]
        curve = key.curve_name
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"not a P-256 key in PEM or JWK form: {error}") from error
    if curve != "P-256":
        raise ValueError(f"the key is on curve {curve}; P-256 is needed")
    return key


def public_jwk(key: ECKey) -> dict[str, Any]:
    """The public half with its ``kid``, as a JWK."""
    return {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}


def read_key(path: Path, name: str = "key") -> ECKey:
    """Read a P-256 key from a PEM file.

    Raises :class:`InvalidInputError` with the file and with ``name``, that of its setting.
    """
    try:
        return load_key(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{name} {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"{name} {path}: {error}") from error


def read_keys(paths: Iterable[Path], name: str = "key") -> dict[str, ECKey]:
    """Keys from PEM files, by their thumbprint. Raises :class:`InvalidInputError` naming the file."""
    return {key.thumbprint(): key for key in (read_key(path, name) for path in paths)}


class Signer:
    """Signs, and shows the public half alone: so a key may also live where it cannot be taken out of."""

    def __init__(self, key: ECKey) -> None:
        self._key = key
        self.kid = key.thumbprint()

    @property
    def public(self) -> dict[str, Any]:
        """The public half, as a JWK."""
        return public_jwk(self._key)

    @property
    def trusted(self) -> dict[str, ECKey]:
        """The public half by its kid, as what verifies takes it."""
        return {self.kid: load_key(self.public)}

    def sign(self, payload: bytes, *, typ: str) -> str:
        """A compact JWS (RFC 7515) over ``payload``."""
        header = {"alg": ALGORITHM, "kid": self.kid, "typ": typ}
        return jws.serialize_compact(header, payload, self._key, algorithms=[ALGORITHM])


def signer_for(place: Path | str, name: str = "key") -> Signer:
    """What signs with the key at ``place``: a path, or a URI of scheme ``file``.

    Raises :class:`InvalidInputError` with ``name``, of its setting, and the place. A key in a security module would be
    one more scheme here.
    """
    parts = urlsplit(str(place))
    if parts.scheme not in ("", "file"):
        raise InvalidInputError(f"{name} {place}: keys are read from files, not from {parts.scheme!r}: give a path")
    return Signer(read_key(Path(parts.path), name))
