"""The catalogue over HTTP, and starting a tool by its name (D6.1, Tools and Tasks)."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from joserfc.jwk import ECKey
from tests.support.central_api import PUBLIC, TOOLS, Federation, problem

from fedproc.catalog.bundle import pack, unpack
from fedproc.catalog.folder import load_tool
from fedproc.catalog.signing import sign_manifest, verify_manifest
from fedproc.common.keys import Signer

pytestmark = pytest.mark.server


def test_the_list_of_tools(rosa: httpx.Client) -> None:
    tools = rosa.get("/tools").json()
    assert [(tool["id"], tool["version"], tool["mode"]) for tool in tools] == [
        ("count", "1.2.0", "federated"), ("train", "0.9.0", "federated"),
    ]  # fmt: skip
    assert tools[0]["description"].startswith("Counts the rows")
    assert tools[0]["href"] == f"{PUBLIC}/tools/count?version=1.2.0"


def test_a_tool_points_to_its_tasks(federation: Federation, rosa: httpx.Client) -> None:
    tool = rosa.get("/tools/count").json()
    assert (tool["versions"], tool["survey"]["contributor"]) == (["1.2.0"], "tests")
    assert tool["parameters"]["required"] == ["column"]
    assert [task["name"] for task in tool["tasks"]] == ["local", "total"]
    for link in tool["tasks"]:
        (task,) = rosa.get(federation.local(link["href"])).json()
        assert (task["tool"], task["name"]) == ("count", link["name"])


def test_a_task_template_has_all_that_its_command_is_built_from(rosa: httpx.Client) -> None:
    tasks = {f"{task['tool']}.{task['name']}": task for task in rosa.get("/tools/tasks").json()}
    assert set(tasks) == {"count.local", "count.total", "train.server", "train.client"}
    local = tasks["count.local"]
    assert local["command"] == ["{python}", "{source}/count.py", "{input}/table", "{parameter.column}"]
    assert set(local["placeholders"]) == {"python", "source", "input", "parameter.column"}
    assert all(local["placeholders"].values()), "what a host fills in is said in words"
    assert local["resources"]["run_seconds"] == 600
    assert (local["placement"], local["kind"]) == ("client", "batch")
    assert local["parameters"]["properties"]["delimiter"]["x-scope"] == "host"
    assert local["inputs"][0] == {
        "name": "table",
        "kind": "dataset",
        "optional": False,
        "media_types": [],
        "max_mb": 100,
    }
    assert [output["name"] for output in local["outputs"]] == ["counts", "plots"]
    assert tasks["count.total"]["needs"] == [{"task": "local", "condition": "exited"}]
    assert tasks["train.server"]["ports"] == [{"name": "grpc", "port": 8080}]
    assert tasks["train.client"]["connections"][0]["task"] == "server"
    assert set(tasks["train.client"]["placeholders"]) >= {"connection.server.address"}
    assert rosa.get("/tools/tasks", params={"tool": "train", "name": "client"}).json() == [tasks["train.client"]]


@pytest.mark.parametrize(
    "path",
    ["/tools/nonesuch", "/tools/tasks?tool=nonesuch", "/tools/count?version=9.9.9",
     "/tools/count/manifest?version=0.0.1", "/tools/Count", "/tools/..%2fcount",
     "/tools/tasks?tool=%00",
     "/tools/count/bundle?digest=sha256:" + "0" * 64, "/tools/count/manifest?digest=abc"],
)  # fmt: skip
def test_tools_and_versions_that_are_not_there(rosa: httpx.Client, path: str) -> None:
    problem(rosa.get(path), 404)


def test_a_version_that_is_no_line_of_text_is_told_as_such(rosa: httpx.Client) -> None:
    assert "control characters" in problem(rosa.get("/tools/count?version=%00"), 422)["detail"]


def test_a_version_that_is_not_there_is_told_which_are(rosa: httpx.Client) -> None:
    assert "there is 1.2.0" in problem(rosa.get("/tools/count?version=9.9.9"), 404, "not_found.version")["detail"]


# -- starting


def test_posting_to_a_tool_starts_it(rosa: httpx.Client) -> None:
    body = {"datasets": ["UB:cohort"], "parameters": {"column": "age"}, "label": "by name"}
    made = rosa.post("/tools/job/count", json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["tool"], made.json()["label"]) == ("count", "by name")
    assert made.headers["location"].endswith(made.json()["id"])
    assert [job["host"] for job in made.json()["jobs"]] == ["UB", "EUCAIM"]


@pytest.mark.parametrize(
    "query",
    [
        {"datasets": ["UB:cohort", "BSC:cohort"]},
        {"datasets": "UB:cohort,BSC:cohort"},
        {"datasets": '["UB:cohort", "BSC:cohort"]', "hosts": "UB, BSC"},
    ],
)
def test_getting_a_tools_job_starts_it_too_as_d61_has_it(
    federation: Federation, rosa: httpx.Client, query: dict[str, Any]
) -> None:
    parameters = {"parameters": json.dumps({"column": "age"}), "host_parameters": '{"UB": {"delimiter": ";"}}'}
    made = rosa.get("/tools/job/count", params={**query, **parameters})
    assert made.status_code == 201, made.text
    view = made.json()
    assert [job["host"] for job in view["jobs"]] == ["UB", "BSC", "EUCAIM"]
    assert view["host_parameters"] == {"UB": {"delimiter": ";"}}
    with federation.operator() as olga:
        act = olga.get("/audit", params={"target": view["id"]}).json()["items"]
    assert [(entry["actor"], entry["method"], entry["outcome"]) for entry in act] == [("rosa", "GET", 201)]


@pytest.mark.parametrize(
    ("query", "status", "what"),
    [
        ({"datasets": "UB:cohort", "parameters": "{"}, 422, "query parameters: not JSON"),
        ({"datasets": "UB:cohort", "parameters": "[1]"}, 422, "must be a JSON object"),
        ({"datasets": "[1"}, 422, "not JSON"),
        ({"datasets": "UB:cohort", "parameters": "[" * 9_000}, 422, "not JSON"),
        ({"datasets": "UB:../cohort"}, 422, "datasets.0"),
        ({"datasets": "UB:cohort", "parameters": '{"column": 3}'}, 422, "parameters.column"),
        ({"hosts": "MARS", "parameters": '{"column": "age"}'}, 422, "MARS is not enrolled"),
        ({"datasets": "UB:cohort", "version": "7.0.0"}, 422, "there is 1.2.0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_same_checks_as_everywhere(rosa: httpx.Client, query: dict[str, Any], status: int, what: str) -> None:
    assert what in problem(rosa.get("/tools/job/count", params=query), status)["detail"]


def test_a_tool_that_is_not_there_is_not_started(rosa: httpx.Client) -> None:
    problem(rosa.get("/tools/job/nonesuch"), 404, "not_found.tool")
    problem(rosa.post("/tools/job/nonesuch", json={}), 404, "not_found.tool")


def test_the_get_that_acts_is_marked_as_deprecated(rosa: httpx.Client) -> None:
    paths = rosa.get("/docs").json()["paths"]
    assert paths["/tools/job/{tool_name}"]["get"]["deprecated"] is True
    assert "deprecated" not in paths["/tools/job/{tool_name}"]["post"]


# -- what hosts get, what operators bring


def test_a_host_gets_manifest_and_source_of_the_exact_version(federation: Federation, tmp_path: Path) -> None:
    keys = {federation.catalogue_key.thumbprint(): federation.catalogue_key}
    with federation.host("UB") as host:
        digest = host.get("/tools/count").json()["digest"]
        answer = host.get("/tools/count/manifest", params={"digest": digest})
        assert answer.headers["content-type"] == "application/jose"
        manifest, found = verify_manifest(answer.text, keys)
        assert found == digest
        assert "immutable" in answer.headers["cache-control"]
        bundle = host.get("/tools/count/bundle", params={"digest": digest})
    unpack(bundle.content, manifest, tmp_path / "source")
    assert (tmp_path / "source/count.py").exists()


def _tool(folder: Path, version: str, source: str = "") -> Path:
    shutil.copytree(TOOLS / "count", folder)
    described = yaml.safe_load((folder / "tool.yaml").read_text())
    (folder / "tool.yaml").write_text(yaml.safe_dump({**described, "version": version}))
    if source:
        (folder / "count.py").write_text(source)
    return folder


def test_a_new_version_is_taken_once_and_never_changed(lone: Federation, tmp_path: Path) -> None:
    with lone.operator() as olga, lone.user() as rosa:
        made = lone.add_tool(_tool(tmp_path / "new", "1.10.0"), olga)
        assert made.status_code == 201
        assert made.headers["location"] == f"{PUBLIC}/tools/count?version=1.10.0"
        assert lone.add_tool(tmp_path / "new", olga).status_code == 200
        assert rosa.get("/tools/count").json()["version"] == "1.10.0", "1.10 is newer than 1.2"
        assert rosa.get("/tools/count").json()["versions"] == ["1.10.0", "1.2.0"]
        assert rosa.get("/tools/count?version=1.2.0").json()["version"] == "1.2.0"
        answer = lone.add_tool(_tool(tmp_path / "other", "1.10.0", "print('other')\n"), olga)
        assert "raise its version" in problem(answer, 409)["detail"]


def test_what_is_not_as_it_was_signed_is_not_taken(federation: Federation) -> None:
    manifest = load_tool(TOOLS / "count")
    good, bundle = sign_manifest(manifest, Signer(federation.catalogue_key)), pack(TOOLS / "count", manifest)
    strange = sign_manifest(manifest, Signer(ECKey.generate_key("P-256")))
    extra = io.BytesIO()
    with tarfile.open(fileobj=extra, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../evil.py"))
    wrong = [
        (strange, bundle), ("no.manifest", bundle), ("", bundle), (good[:-6] + "AAAAAA", bundle),
        (good, b"no archive"), (good, b""), (good, bundle[:-40]), (good, bundle[:30] + b"\xff" * 8 + bundle[38:]),
        (good, extra.getvalue()),
    ]  # fmt: skip
    with federation.operator() as olga:
        for signed, packed in wrong:
            answer = olga.post("/tools", data={"manifest": signed}, files={"bundle": ("b", packed)})
            problem(answer, 422)
        problem(olga.post("/tools", data={"manifest": good}), 422)
        problem(olga.post("/tools", json={"manifest": good}), 422)


def test_a_body_that_nobody_signed_for_is_not_read(federation: Federation) -> None:
    """Refused before its body is taken in: the answer comes while the sender is still at its first bytes."""
    with federation.caller(None) as client:
        answer = client.post("/tools", content=_endless(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    problem(answer, 401)


def _endless() -> Iterator[bytes]:
    yield b'--x\r\nContent-Disposition: form-data; name="bundle"; filename="b"\r\n\r\n'
    for _ in range(200):
        yield b"0" * (1 << 20)
