"""A provider sends in a tool, who approves tools decides, and nothing is offered before it is published."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import tarfile
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import select
from tests.support.central_api import TOOLS, Federation, problem

from fedproc.catalog import examination
from fedproc.catalog.bundle import pack, unpack
from fedproc.catalog.folder import load_tool
from fedproc.catalog.signing import canonical_content
from fedproc.central.api.routes import submissions as routes
from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import submissions
from fedproc.central.db.schema import audit
from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.contract.tool.tool import Manifest

pytestmark = pytest.mark.server


def new_version(folder: Path, version: str) -> Path:
    """The tool ``count`` under another version."""
    made = folder / version
    shutil.copytree(TOOLS / "count", made)
    content = yaml.safe_load((made / "tool.yaml").read_text())
    content["version"] = version
    (made / "tool.yaml").write_text(yaml.safe_dump(content))
    return made


def send(client: httpx.Client, folder: Path, **changed: Any) -> httpx.Response:
    manifest = load_tool(folder)
    values = {"manifest": json.dumps(canonical_content(manifest)), "note": "please", **changed}
    bundle = values.pop("bundle", None) or pack(folder, manifest)
    return client.post("/submissions", data=values, files={"bundle": ("b", io.BytesIO(bundle))})


def test_a_tool_is_sent_in_approved_published_and_only_then_offered(federation: Federation, tmp_path: Path) -> None:
    folder = new_version(tmp_path, "9.0.1")
    with federation.user("pia") as pia, federation.operator() as olga, federation.user("rosa") as rosa:
        sent = send(pia, folder)
        assert sent.status_code == 201, sent.text
        view = sent.json()
        assert f"waits already, as {view['id']}" in problem(send(pia, folder), 409)["detail"]
        assert (view["tool"], view["version"], view["state"], view["offered"]) == ("count", "9.0.1", "waits", False)
        path = f"/submissions/{view['id']}"
        problem(rosa.get(path), 404)
        assert rosa.get("/submissions").json() == []
        problem(pia.post(path + "/decision", json={"approve": True}), 403)
        assert [one["id"] for one in olga.get("/submissions?state=waits").json()] == [view["id"]]
        source = olga.get(path + "/bundle").content
        unpack(source, Manifest.model_validate(olga.get(path).json()["manifest"]), tmp_path / "fetched")
        assert load_tool(tmp_path / "fetched") == load_tool(folder)
        decided = olga.post(path + "/decision", json={"approve": True, "text": "well described"})
        assert decided.json()["state"] == "approved"
        problem(olga.post(path + "/decision", json={"approve": False, "text": "no"}), 409)
        assert pia.get(path).json()["text"] == "well described"
        assert "9.0.1" not in rosa.get("/tools/count").json()["versions"]
        assert federation.add_tool(tmp_path / "fetched", olga).status_code == 201
        assert pia.get(path).json()["offered"] is True
        assert "9.0.1" in rosa.get("/tools/count").json()["versions"]
        problem(send(pia, folder), 409)
    with read_transaction(federation.engine) as connection:
        found = {
            row.action: row.detail for row in connection.execute(select(audit).where(audit.c.target == view["id"]))
        }
    assert found["decide_submission"].endswith("well described")
    assert "count 9.0.1" in found["submit_tool"]


def test_a_refusal_says_why_and_the_source_is_not_kept(federation: Federation, tmp_path: Path) -> None:
    with federation.user("pia") as pia, federation.operator() as olga:
        path = f"/submissions/{send(pia, new_version(tmp_path, '9.1.0')).json()['id']}"
        problem(olga.post(path + "/decision", json={"approve": False, "text": " "}), 422)
        olga.post(path + "/decision", json={"approve": False, "text": "its licence is missing"})
        assert pia.get(path).json()["text"] == "its licence is missing"
        problem(pia.get(path + "/bundle"), 409)
        with federation.user("rosa") as rosa:
            problem(rosa.delete(path), 404)
        assert pia.delete(path).status_code == 204
        problem(pia.get(path), 404)


def bomb() -> bytes:
    return gzip.compress(b"\0" * (examination.MAX_BYTES * 2 + 10_000_000))


def outside(path: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        entry = tarfile.TarInfo(path)
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    return raw.getvalue()


@pytest.mark.slow
def test_what_is_no_tool_is_told_and_not_kept(federation: Federation, tmp_path: Path) -> None:
    folder = new_version(tmp_path, "9.2.0")
    whole = canonical_content(load_tool(folder))
    escaping = {
        "path": "../../evil",
        "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        "size": 1,
    }
    wrong = [
        {"manifest": "{"}, {"manifest": "[" * 50_000}, {"manifest": "{}"},
        {"manifest": json.dumps({**whole, "tool": {**whole["tool"], "tasks": []}})},
        {"manifest": json.dumps({**whole, "files": [escaping]}), "bundle": outside("../../evil")},
        {"bundle": b"no archive"}, {"bundle": bomb()}, {"bundle": outside("tool.yaml")},
    ]  # fmt: skip
    with federation.user("pia") as pia:
        for changed in wrong:
            answer = send(pia, folder, **changed)
            assert 400 <= answer.status_code < 500, (list(changed), answer.status_code, answer.text[:300])
        assert pia.get("/submissions").json() == []


def test_a_check_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(examination, "_WALL_SECONDS", 0.01)
    with pytest.raises(InvalidInputError, match="takes more than"):
        examination.examine("{}", b"")


def test_no_more_than_two_are_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_AT_ONCE", threading.BoundedSemaphore(1))
    monkeypatch.setattr(examination, "_WAIT_SECONDS", 0.01)
    with examination._turn(), pytest.raises(UnavailableError, match="send this one again"):
        examination.examine("{}", b"")


def test_a_provider_has_so_many_waiting(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST_WAITING", 1)
    folder = new_version(tmp_path, "9.3.0")
    with federation.user("pia") as pia:
        first = send(pia, folder).json()["id"]
        assert send(pia, folder).status_code == 409
        assert pia.delete(f"/submissions/{first}").status_code == 204


def test_what_a_person_sent_in_is_erased_with_him(federation: Federation, tmp_path: Path) -> None:
    with federation.user("pia") as pia:
        send(pia, new_version(tmp_path, "9.4.0"))
        with write_transaction(federation.engine) as connection:
            submissions.erase(connection, "pia")
        assert pia.get("/submissions").json() == []


def test_ids_that_cannot_be_are_not_found(rosa: httpx.Client) -> None:
    for path in ("/submissions/x", "/submissions/s-" + "0" * 26):
        problem(rosa.get(path), 404)
    assert re.fullmatch(r"\[\]", rosa.get("/submissions").text)
