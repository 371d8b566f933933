"""The bag of a crate (BagIt 1.0, RFC 8493), in a zip."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from fedproc.central.api.crate.document import MANIFEST, METADATA, Facts, crate, tool_crate
from fedproc.central.api.crate.entities import TOOL


def zipped(facts: Facts) -> bytes:
    """One folder named as the experiment, the bag, with the crate as its payload.

    The same facts give the same bytes.
    """
    one = facts.experiment
    payload = {f"data/{METADATA}": _json(crate(facts)), f"data/{TOOL}{METADATA}": _json(tool_crate(facts))}
    if facts.manifest is not None:
        payload[f"data/{TOOL}{MANIFEST}"] = facts.manifest
    tags = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": _info(one.id, facts, payload),
        "manifest-sha512.txt": _manifest(payload),
    }
    tags["tagmanifest-sha512.txt"] = _manifest(tags)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**tags, **payload}.items():
            archive.writestr(zipfile.ZipInfo(f"{one.id}/{name}", (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return whole.getvalue()


def _info(experiment: str, facts: Facts, payload: dict[str, bytes]) -> bytes:
    """The identifier is the same for each export of an experiment of this centre."""
    octets = sum(map(len, payload.values()))
    lines = [
        f"External-Identifier: urn:uuid:{uuid5(NAMESPACE_URL, f'{facts.centre}/experiments/{experiment}')}",
        f"Bagging-Date: {facts.now:%Y-%m-%d}",
        f"Payload-Oxum: {octets}.{len(payload)}",
    ]
    return ("\n".join(lines) + "\n").encode()


def _manifest(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha512(content).hexdigest()}  {name}\n" for name, content in files.items()).encode()


def _json(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return (text + "\n").encode("utf-8", "replace")
