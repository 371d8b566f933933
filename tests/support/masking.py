"""Hosts of a masked sum: their keys, the order that each is given, and what leaves each of its answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey

from fedproc.catalog.folder import load_tool
from fedproc.common.keys import public_jwk
from fedproc.contract.ids import new_id
from fedproc.contract.tool.task import OutputDecl
from fedproc.contract.wire.messages import JobOrder
from fedproc.site.masking.masked import mask
from fedproc.site.masking.pairs import Pairs

HOSTS = ("BSC", "FORTH", "UB")
SOON = "2030-01-01T00:00:00Z"
WORD = 1 << 384


class MaskingHosts:
    """The hosts of one experiment, each with its key."""

    def __init__(self, hosts: Iterable[str] = HOSTS, keys: Mapping[str, ECKey] | None = None) -> None:
        self.keys = dict(keys) if keys else {host: ECKey.generate_key("P-256") for host in hosts}
        self.jobs = {host: new_id("j") for host in self.keys}
        self.experiment = new_id("e")
        self.parts = {host: {"job": self.jobs[host], "key": public_jwk(key)} for host, key in self.keys.items()}

    def order(self, host: str, **changes: Any) -> JobOrder:
        given = {
            "job": self.jobs[host], "experiment": self.experiment, "task": "local",
            "tool": {"id": "t", "version": "1.0.0", "digest": "sha256:" + "0" * 64}, "user": {"sub": "rosa"},
            "deadlines": dict.fromkeys(("start_by", "end_by", "release_by"), SOON),
            "hosts": {"local": list(self.keys)}, "masks": self.parts,
        }  # fmt: skip
        return JobOrder.model_validate(given | changes)

    def pairs(self, host: str, **changes: Any) -> Pairs:
        return Pairs(self.order(host, **changes), host, self.keys[host], {})

    def leave(self, sites: Path, tool: Path, file: str) -> None:
        """Each host's answer below ``sites`` as the aggregator gets it."""
        output = declared(tool)
        for host in self.keys:
            answer = sites / host / file
            answer.write_bytes(mask(answer.read_bytes(), output, self.pairs(host)))


def declared(tool: Path) -> OutputDecl:
    (output,) = load_tool(tool).tool.task("local").outputs
    return output


def words(node: Any) -> list[str]:
    """All masked numbers of what was received."""
    if isinstance(node, dict):
        return [word for value in node.values() for word in words(value)]
    if isinstance(node, list):
        return [word for value in node for word in words(value)]
    return [node] if isinstance(node, str) and node.startswith("masked:") else []


def numbers(node: Any) -> list[float]:
    """All plain numbers of a document."""
    if isinstance(node, dict):
        return [number for value in node.values() for number in numbers(value)]
    if isinstance(node, list):
        return [number for value in node for number in numbers(value)]
    return [node] if isinstance(node, int | float) and not isinstance(node, bool) else []


def read(path: Path) -> Any:
    return json.loads(path.read_text())
