"""What a PACS says of an instance as DICOM JSON (PS3.18, F), read as the file itself is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from fedproc.site.data.dicom import instance_of, missing_in
from fedproc.site.data.examining import Examined
from fedproc.site.data.identifying import Seen, identifying_in
from fedproc.site.data.remote.dicomweb import INSTANCE, ListedSeries, text_of
from fedproc.site.data.walking import FILE, OTHER, Entry
from fedproc.site.dataset_settings import is_uid

_LONGEST = 200
_ADDRESS = "00081190"


def examined(listed: ListedSeries, elements: Mapping[str, Any]) -> Examined:
    """An instance as an index has it. Its hash is over what the PACS says of it, since no byte of it has come."""
    instance = text_of(elements, INSTANCE)
    name = f"{instance}.dcm" if is_uid(instance) else hashlib.sha256(instance.encode("utf-8", "replace")).hexdigest()
    found = Examined(Entry(f"{listed.study}/{listed.series}/{name}".encode(), FILE), sha256=hash_of(elements))
    values = _Values(elements)
    got = instance_of(values)
    if not is_uid(instance) or (got.study, got.series) != (listed.study, listed.series):
        found.problems.append(("unreadable_dicom", "is not described by the PACS as one of its series"))
        found.entry = found.entry._replace(kind=OTHER)
        return found
    found.instance = got
    seen = Seen()
    for tag in elements:
        seen.add(int(tag, 16) if len(tag) == 8 and all(c in "0123456789ABCDEFabcdef" for c in tag) else 1 << 16)
    found.problems += [*missing_in(values), *identifying_in(values.text, seen)]
    return found


def unreadable(listed: ListedSeries, reason: str) -> Examined:
    """A series that the PACS does not describe: nobody could see what is in it."""
    found = Examined(Entry(f"{listed.study}/{listed.series}".encode(), OTHER), sha256=hash_of(listed.attributes))
    found.problems.append(("unreadable_dicom", f"cannot be described by the PACS ({reason})"))
    return found


def hash_of(elements: Mapping[str, Any]) -> bytes:
    """Of what is said, however it is written; where its bytes can be had is no part of it."""
    plain = {tag: element for tag, element in elements.items() if tag != _ADDRESS and not _is_elsewhere(element)}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).digest()


def _is_elsewhere(element: Any) -> bool:
    return isinstance(element, dict) and "BulkDataURI" in element


class _Values:
    def __init__(self, elements: Mapping[str, Any]) -> None:
        self._elements = elements

    def text(self, word: str) -> str:
        text = text_of(self._elements, _tag(word))
        return text.encode("utf-8", "replace").decode().replace("\0", "").strip()[:_LONGEST]

    def items(self, word: str) -> list[Self]:
        element = self._elements.get(_tag(word))
        values = element.get("Value") if isinstance(element, dict) else None
        return [type(self)(item) for item in values if isinstance(item, dict)] if isinstance(values, list) else []


@cache
def _tag(word: str) -> str:
    from pydicom.datadict import tag_for_keyword

    return f"{tag_for_keyword(word):08X}"
