"""What a run is told before anything starts: data that do not fit the tool, and lists as people write them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.cli.conftest import Call
from tests.support.central_api import Federation
from tests.support.sample_tools import CHAIN, task, tool

from fedproc.contract.wire.datasets import OfferedDataset

IMAGES = {"name": "images", "kind": "dataset", "media_types": ["application/dicom"]}
PARAMETERS = {
    "type": "object",
    "x-datasets-per-host": 2,
    "properties": {
        "times": {"type": "array", "items": {"type": "number"}},
        "names": {"type": "array", "items": {"type": "string"}},
        "own": {"type": "array", "items": {"type": "integer"}, "x-scope": "host"},
    },
}


def offer(federation: Federation, **held: tuple[str, ...]) -> None:
    hosts = federation.books.hosts
    offered = tuple(OfferedDataset(id=name, version="1", kinds=kinds) for name, kinds in held.items())
    beat = hosts.heartbeat("UB", ()).model_copy(update={"datasets": offered})
    federation.books.take(("UB", hosts.seal("UB", beat)))


def test_dataset_that_does_not_fit_is_refused_and_list_is_taken_as_it_is_written(
    federation: Federation, rosa: Call
) -> None:
    federation.books.add_tool(tool("imager", task("local", inputs=[IMAGES]), parameters=PARAMETERS))
    offer(federation, ct=("images",), cohort=("tables",))
    for more in ("--dry-run", "--no-wait"):
        said = rosa("run", "imager", "--data", "UB:cohort", "--data", "UB:ct", more)
        assert said.code == 1
        told = "UB:cohort holds tables and no DICOM images, and imager reads DICOM images"
        assert told in " ".join(said.err.split())
        assert "fedproc data list --kind images" in said.err
    assert json.loads(rosa("experiments", "list", "--json").out) == []
    assert "takes images (dataset of DICOM images, 2 of each host)" in rosa("tools", "show", "imager").out

    run = ("run", "imager", "--data", "UB:ct", "--no-wait", "--json")
    words = ("-p", "times=0, 6, 12.5", "-p", "names=age,size", "--host-parameter", "UB.own=7")
    started = json.loads(rosa(*run, *words).out)
    assert started["parameters"] == {"times": [0, 6, 12.5], "names": ["age", "size"]}
    assert started["host_parameters"] == {"UB": {"own": [7]}}
    said = rosa(*run, "-p", "times=0, six")
    assert said.code == 1
    assert "six" in said.err
    assert "no tool" in rosa("run", "imagr", "--data", "UB:ct", "-p", "times=0,6").err


def test_run_that_is_encrypted_says_before_it_starts_what_stays_in_plain(
    federation: Federation, rosa: Call, tmp_path: Path
) -> None:
    federation.books.add_tool(CHAIN)
    key = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    lines = ("-----BEGIN CRYPT4GH PUBLIC KEY-----", key, "-----END CRYPT4GH PUBLIC KEY-----", "")
    (tmp_path / "me.pub").write_text("\n".join(lines))
    run = ("run", "chain", "--host", "UB", "--no-wait")
    said = rosa(*run, "--encrypt-to", str(tmp_path / "me.pub")).err
    assert "in plain, and read by the centre: parameters, states and reasons, metrics, log lines, and names" in said
    assert "in plain, too, as another task of chain reads it: local.counts" in said
    assert "in plain" not in rosa(*run).err
    assert "in plain stay parameters" in " ".join(rosa("run", "--help").out.replace("│", " ").split())
