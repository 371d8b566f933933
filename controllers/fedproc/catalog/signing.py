"""The manifest's digest, and its signature by the catalogue's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc.jwk import ECKey
from pydantic import ValidationError

from fedproc.common.errors import UnreadableError
from fedproc.common.keys import Signer
from fedproc.common.validation import lines_of
from fedproc.contract.tool.tool import Manifest
from fedproc.contract.wire.jws import MANIFEST_TYP, canonical, digest, sign, verify


def canonical_content(manifest: Manifest) -> dict[str, Any]:
    """The manifest as data, defaults left out: a later version of this program that knows more keys, each with a
    default, finds the same digest for the same tool."""
    return manifest.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def tool_digest(manifest: Manifest) -> str:
    """``sha256:…`` over the canonical JSON of the manifest."""
    return digest(canonical_content(manifest))


def sign_manifest(manifest: Manifest, signer: Signer) -> str:
    """A compact JWS over the canonical manifest. Raises :class:`TooLargeError`."""
    return sign(canonical(canonical_content(manifest)), signer, typ=MANIFEST_TYP)


def verify_manifest(token: str, keys: Mapping[str, ECKey]) -> tuple[Manifest, str]:
    """The manifest that one of the catalogue's ``keys`` (by kid) signed, and its digest.

    Raises :class:`UnreadableError` if the signature, the content or its canonical form is not right.
    """
    payload = verify(token, keys, typ=MANIFEST_TYP)
    try:
        manifest = Manifest.model_validate_json(payload)
    except ValidationError as error:
        raise UnreadableError(f"manifest: {lines_of(error)[0]}", code="unreadable.schema") from error
    if canonical(canonical_content(manifest)) != payload:
        raise UnreadableError("manifest is not in canonical form: sign it again with this version of fedproc")
    return manifest, tool_digest(manifest)
