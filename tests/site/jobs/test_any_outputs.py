"""A tool may leave anything in its folders: it is sealed, or its job fails by an error of ours."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.anything import BYTES, JSON, TREES, as_json, bent, plant
from tests.support.examples import examples

from fedproc.common.errors import FedprocError, ToolFaultError
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.site.jobs.verdict import verdict_of
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.policy.disclosure import findings
from fedproc.site.policy.policy_file import Policy, ToolRule

COUNTED = OutputDecl(name="all", path="all", folder=True, disclosure="aggregate", max_mb=1, min_count_fields=("n",))
TASK = Task.model_validate(
    {
        "name": "work",
        "placement": "client",
        "runtime": {"requirements": "x"},
        "command": ["x"],
        "outputs": [
            COUNTED.model_dump(),
            {"name": "one", "path": "all/one.json", "disclosure": "report", "optional": True},
        ],
    }
)
TERMS = Policy().terms(ToolRule(id="km", digest="*"), TASK)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A fresh workspace for each example."""
    root, number = tmp_path_factory.mktemp("jobs"), iter(range(1 << 30))

    def fresh() -> Workspace:
        made = Workspace(root, f"j-{next(number)}")
        made.make({}, {})
        return made

    return fresh


def is_one_of_ours(error: FedprocError) -> None:
    verdict = verdict_of(error)
    assert verdict.code
    assert verdict.code.startswith("tool_fault")
    json.dumps([verdict.code, verdict.reason], ensure_ascii=False).encode()


def look_at(workspace: Workspace) -> None:
    """All that the host does with a job's folders after its end."""
    assert workspace.written() >= 0
    workspace.read_work("metrics.jsonl", 0, 100)
    try:
        sealed = workspace.seal(TASK.outputs, workspace.sealed)
    except ToolFaultError as error:
        is_one_of_ours(error)
    else:
        json.dumps(sealed, ensure_ascii=False).encode()
        assert all(path.is_file() and not path.is_symlink() for path in map(workspace.sealed.joinpath, sealed))
        for found in findings(TERMS, TASK, workspace.sealed):
            found.text.encode()


@pytest.mark.slow
@examples(150)
@given(tree=TREES)
def test_any_tree_is_sealed_or_fails_the_tool(folders: Any, tree: Any) -> None:
    workspace = folders()
    (workspace.work / "output" / "all").mkdir()
    plant(workspace.work / "output" / "all", tree)
    plant(workspace.work, tree)
    look_at(workspace)
    workspace.remove()


@pytest.mark.slow
@examples(60)
@given(
    content=st.one_of(BYTES, bent({"status": "ok", "n": [5, {"n": "3"}]}).map(as_json)),
    name=st.sampled_from(["one.json", "two"]),
)
def test_output_of_any_bytes_is_checked(folders: Any, content: bytes, name: str) -> None:
    workspace = folders()
    (workspace.work / "output" / "all").mkdir()
    (workspace.work / "output" / "all" / name).write_bytes(content)
    look_at(workspace)
    try:
        workspace.probe_result(f"all/{name}")
    except ToolFaultError as error:
        is_one_of_ours(error)


@pytest.mark.slow
@examples(40)
@given(count=JSON)
def test_any_value_of_a_count_is_looked_at(folders: Any, count: Any) -> None:
    workspace = folders()
    (workspace.work / "output" / "all").mkdir()
    (workspace.work / "output" / "all" / "a").write_bytes(as_json({"n": count, "a": [{"n": count}]}))
    look_at(workspace)


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder", "loop"])
def test_status_file_that_is_none_fails_the_tool(folders: Any, kind: str) -> None:
    workspace = folders()
    plant(workspace.work / "output", [(b"status.json", kind, b"", 0)])
    with pytest.raises(ToolFaultError):
        workspace.probe_result("status.json")
    assert workspace.read_work("output/status.json", 0, 10) == b""


@pytest.mark.parametrize("what", ["output", "work"])
def test_folder_that_the_tool_took_away_fails_it(folders: Any, what: str) -> None:
    workspace = folders()
    if what == "output":
        (workspace.work / "output").rmdir()
        (workspace.work / "output").symlink_to("/etc")
    else:
        (workspace.work / "output").rmdir()
        workspace.work.chmod(0)
    with pytest.raises(ToolFaultError):
        workspace.seal(TASK.outputs, workspace.sealed)
    with pytest.raises(ToolFaultError):
        workspace.probe_result("status.json")


@pytest.mark.slow
def test_files_that_change_while_they_are_read_end_nothing(folders: Any) -> None:
    """As of processes that are not gone yet: content, kind, names and folders change under the reader."""
    over = threading.Event()
    workspace = folders()
    folder = workspace.work / "output" / "all"

    def change() -> None:
        number = 0
        while not over.is_set():
            number += 1
            for place in (folder / "a", folder / f"d{number % 5}" / "b"):
                try:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.unlink(missing_ok=True)
                    if number % 3 == 0:
                        place.symlink_to("/etc/passwd")
                    elif number % 3 == 1:
                        os.mkfifo(place)
                    else:
                        place.write_bytes(b"x" * (number % 100_000))
                    if number % 7 == 0:
                        place.parent.rename(folder.parent / "away")
                        (folder.parent / "away").rename(place.parent)
                except OSError:
                    continue

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(60):
            workspace.written()
            try:
                workspace.seal(TASK.outputs, workspace.sealed)
            except ToolFaultError as error:
                is_one_of_ours(error)
            workspace.read_work("output/all/a", 0, 10)
    finally:
        over.set()
        changing.join()
