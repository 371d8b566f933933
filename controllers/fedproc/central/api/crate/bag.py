"""The bag of a crate (BagIt 1.0, RFC 8493), in a zip."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple, cast
from uuid import NAMESPACE_URL, uuid5

from fedproc.central.api.crate.document import MANIFEST, METADATA, Facts, crate, tool_crate
from fedproc.central.api.crate.entities import TOOL, Entity

_IN_MEMORY = 8 << 20
"""bytes of a zip; what is larger goes into a file"""
_TOGETHER = 500
"""entities that are compressed at once"""


class Part(NamedTuple):
    """A file of the bag that is in the zip."""

    sha512: str
    size: int


def zipped(facts: Facts) -> IO[bytes]:
    """One folder named as the experiment, the bag, with the crate as its payload; at its beginning, to be closed.

    The same facts give the same bytes.
    """
    one = facts.experiment.id
    whole = cast(IO[bytes], tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 (whoever gets it closes it)
    try:
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            payload = {name: _add(archive, f"{one}/{name}", pieces) for name, pieces in _payload(facts)}
            tags = {
                "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
                "bag-info.txt": _info(one, facts, payload),
                "manifest-sha512.txt": _manifest(payload),
            }
            added = {name: _add(archive, f"{one}/{name}", [content]) for name, content in tags.items()}
            _add(archive, f"{one}/tagmanifest-sha512.txt", [_manifest(added)])
    except BaseException:
        whole.close()
        raise
    whole.seek(0)
    return whole


def _payload(facts: Facts) -> Iterator[tuple[str, Iterable[bytes]]]:
    yield f"data/{METADATA}", _json(crate(facts))
    yield f"data/{TOOL}{METADATA}", _json(tool_crate(facts))
    if facts.manifest is not None:
        yield f"data/{TOOL}{MANIFEST}", [facts.manifest]


def _add(archive: zipfile.ZipFile, name: str, pieces: Iterable[bytes]) -> Part:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    digest, size = hashlib.sha512(), 0
    with archive.open(entry, "w", force_zip64=True) as file:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            file.write(piece)
    return Part(digest.hexdigest(), size)


def _info(experiment: str, facts: Facts, payload: dict[str, Part]) -> bytes:
    """The identifier is the same for each export of an experiment of this centre."""
    octets = sum(part.size for part in payload.values())
    lines = [
        f"External-Identifier: urn:uuid:{uuid5(NAMESPACE_URL, f'{facts.centre}/experiments/{experiment}')}",
        f"Bagging-Date: {facts.now:%Y-%m-%d}",
        f"Payload-Oxum: {octets}.{len(payload)}",
    ]
    return ("\n".join(lines) + "\n").encode()


def _manifest(files: dict[str, Part]) -> bytes:
    return "".join(f"{part.sha512}  {name}\n" for name, part in files.items()).encode()


def _json(document: dict[str, Any]) -> Iterator[bytes]:
    """An entity on each line: as a whole it would be in memory twice more."""
    *others, last = document["@graph"]
    yield f'{{"@context": {json.dumps(document["@context"])}, "@graph": [\n'.encode()
    for start in range(0, len(others), _TOGETHER):
        yield "".join(f"{_line(entity)},\n" for entity in others[start : start + _TOGETHER]).encode("utf-8", "replace")
    yield f"{_line(last)}\n]}}\n".encode("utf-8", "replace")


def _line(entity: Entity) -> str:
    return json.dumps(entity, ensure_ascii=False)
