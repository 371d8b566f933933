"""The media type of what a user sends: as the request states it, and whether the input takes it."""

from __future__ import annotations

from fnmatch import fnmatchcase

from fedproc.common.errors import MediaTypeError
from fedproc.contract.tool.task import InputDecl

UNSTATED = "application/octet-stream"
"""what RFC 9110 (section 8.3) has a receiver assume if nothing is stated"""
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


def media_type_of(header: str | None) -> str:
    """The type in a ``Content-Type``, without its parameters; :data:`UNSTATED` for none, and for what is no type."""
    kind = (header or "").partition(";")[0].strip().lower()
    plain = "/" in kind and kind.isascii() and len(kind) <= 127 and kind.isprintable() and " " not in kind
    return kind if plain else UNSTATED


def refuse_form(header: str | None, address: str) -> None:
    """Raises :class:`MediaTypeError`, with the right command, for a form: its envelope would be stored as data."""
    if media_type_of(header) in _FORMS:
        raise MediaTypeError(
            "the body must be the file's bytes alone, and this is a form: with curl, send the file by -T instead of "
            f"-F or -d: curl -T FILE -H 'Authorization: Bearer TOKEN' '{address}'",
            code="media_type.form",
        )


def check_media_type(declared: InputDecl, stated: str) -> None:
    """Raises :class:`MediaTypeError` for a stated type that the input does not take; ``text/*`` takes all of text."""
    if stated == UNSTATED or not declared.media_types:
        return
    if not any(fnmatchcase(stated, taken.lower()) for taken in declared.media_types):
        raise MediaTypeError(
            f"input {declared.name} takes {', '.join(declared.media_types)}, not {stated}; send it in that form, or "
            "state the type that it has (Content-Type)"
        )
