"""The sealed copy: regular files only, no link followed, nothing beyond what was declared."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.support.examples import examples

from fedproc.common.errors import SystemFaultError, ToolFaultError
from fedproc.common.tasks import StopFlag, StoppedError, stoppable
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.jobs import workspace as module
from fedproc.site.jobs.workspace import Workspace

NOBODY = 65534


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    made = Workspace(tmp_path, "j-1")
    made.make({"a": 1}, {"local": ["UB"]})
    (tmp_path / "secret").write_text("of the host")
    return made


def out(path: str, **more) -> OutputDecl:
    return OutputDecl.model_validate({"name": "result", "path": path, "disclosure": "aggregate", **more})


def seal(workspace: Workspace, output: OutputDecl) -> dict[str, str]:
    return workspace.seal([output], workspace.sealed)


def test_a_file_and_a_folder_of_files(workspace):
    output = workspace.work / "output"
    (output / "model" / "deep").mkdir(parents=True)
    (output / "model" / "a.bin").write_bytes(b"a")
    (output / "model" / "deep" / "b.bin").write_bytes(b"b")
    (output / "undeclared").write_bytes(b"stays")
    hashes = seal(workspace, out("model", folder=True))
    assert hashes == {
        "result/model/a.bin": hashlib.sha256(b"a").hexdigest(),
        "result/model/deep/b.bin": hashlib.sha256(b"b").hexdigest(),
    }
    assert (workspace.sealed / "result/model/deep/b.bin").read_bytes() == b"b"
    assert not list(workspace.sealed.rglob("undeclared"))


def test_sealing_again_takes_the_present_bytes(workspace):
    target = workspace.work / "output" / "r"
    target.write_bytes(b"one")
    seal(workspace, out("r"))
    target.write_bytes(b"two")
    assert seal(workspace, out("r"))["result/r"] == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize("kind", ["link", "link_in_the_way", "fifo", "folder", "socketless_device"])
def test_what_is_no_regular_file_is_the_tools_fault(workspace, tmp_path, kind):
    target = workspace.work / "output" / "r"
    match kind:
        case "link":
            target.symlink_to(tmp_path / "secret")
        case "link_in_the_way":
            (workspace.work / "output").rmdir()
            (workspace.work / "output").symlink_to(tmp_path)
            (tmp_path / "r").write_text("of the host")
        case "fifo":
            os.mkfifo(target)
        case "folder":
            target.mkdir()
        case "socketless_device":
            if os.geteuid() != 0:
                pytest.skip("making a device node needs root")
            os.mknod(target, 0o020666, os.makedev(1, 5))
    with pytest.raises(ToolFaultError) as caught:
        seal(workspace, out("r"))
    assert caught.value.code == "tool_fault.output_kind"
    assert not list(workspace.root.rglob("sealed/**/r"))


def test_a_link_inside_a_declared_folder_is_refused(workspace, tmp_path):
    folder = workspace.work / "output" / "model"
    folder.mkdir()
    (folder / "x").symlink_to(tmp_path / "secret")
    with pytest.raises(ToolFaultError) as caught:
        seal(workspace, out("model", folder=True))
    assert caught.value.code == "tool_fault.output_kind"


@pytest.mark.parametrize("kind", ["closed", "link"])
def test_folder_below_an_output_that_cannot_be_looked_into_is_not_left_out(workspace, tmp_path, monkeypatch, kind):
    folder = workspace.work / "output" / "model"
    (folder / "deep" / "inner").mkdir(parents=True)
    (folder / "deep" / "inner" / "weights").write_text("lost")
    (folder / "a").write_text("there")
    if kind == "link":
        (folder / "deep" / "link").symlink_to(tmp_path)
    else:
        refuse_to_open(monkeypatch, "inner", errno.EACCES)
    with pytest.raises(ToolFaultError, match="output result: model") as caught:
        seal(workspace, out("model", folder=True, optional=True))
    assert caught.value.code == "tool_fault.output_kind"
    named = caught.value.detail["at_host"]
    assert "deep/inner" in named if kind == "closed" else "link" in named


def refuse_to_open(monkeypatch, name: str, number: int) -> None:
    """As the system does of who is not root, or where the disk is broken."""
    real = os.open

    def opened(path, *rest, **more):
        if path == name:
            raise OSError(number, os.strerror(number), path)
        return real(path, *rest, **more)

    monkeypatch.setattr(module.os, "open", opened)


@pytest.mark.parametrize("name", ["model", "a"])
def test_what_the_disk_does_not_give_back_is_the_hosts_fault(workspace, monkeypatch, name):
    folder = workspace.work / "output" / "model"
    folder.mkdir()
    (folder / "a").write_text("{}")
    refuse_to_open(monkeypatch, name, errno.EIO)
    for read in (
        lambda: seal(workspace, out("model", folder=True)),
        lambda: workspace.probe_result("model/a"),
        lambda: workspace.read_work("output/model/a", 0, 1),
    ):
        with pytest.raises(SystemFaultError, match="this host's disk") as caught:
            read()
        assert caught.value.code == "system_fault.os"


def test_file_that_was_replaced_on_a_shared_disk_as_it_was_opened_is_read_later(workspace, monkeypatch):
    (workspace.work / "metrics.jsonl").write_bytes(b"{}")
    refuse_to_open(monkeypatch, "metrics.jsonl", errno.ESTALE)
    assert workspace.read_work("metrics.jsonl", 0, 10) == b""


def test_missing_optional_and_too_large(workspace):
    with pytest.raises(ToolFaultError, match=r"did not write r below \{output\}") as caught:
        seal(workspace, out("r"))
    assert caught.value.code == "tool_fault.output_missing"
    assert seal(workspace, out("r", optional=True)) == {}
    (workspace.work / "output" / "r").write_bytes(b"x" * 1001)
    with pytest.raises(ToolFaultError) as caught:
        seal(workspace, out("r", max_mb=0.001))
    assert caught.value.code == "tool_fault.output_size"


def test_metrics_are_read_without_following_links(workspace, tmp_path):
    assert workspace.read_work("metrics.jsonl", 0, 10) == b""
    (workspace.work / "metrics.jsonl").symlink_to(tmp_path / "secret")
    assert workspace.read_work("metrics.jsonl", 0, 10) == b""
    (workspace.work / "metrics.jsonl").unlink()
    (workspace.work / "metrics.jsonl").write_bytes(b"0123456789")
    assert workspace.read_work("metrics.jsonl", 4, 3) == b"456"


def test_make_removes_what_an_earlier_attempt_left(workspace):
    (workspace.work / "output" / "old").write_text("x")
    workspace.make({}, {})
    assert not (workspace.work / "output" / "old").exists()
    workspace.remove()
    workspace.remove()
    assert not workspace.root.exists()


def test_other_users_of_the_machine_get_at_no_jobs_folder(workspace):
    workspace.root.parent.chmod(0o755)
    workspace.make({}, {})
    assert workspace.root.stat().st_mode & 0o777 == 0o700
    assert workspace.root.parent.stat().st_mode & 0o777 == 0o711  # and are not told which there are


@pytest.mark.process
def test_folders_nested_without_end_are_removed(workspace):
    inner = os.open(workspace.work, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=inner)
        outer, inner = inner, os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    workspace.remove()
    assert not workspace.root.exists()


@pytest.mark.needs_root
def test_folders_that_a_tool_closed_are_removed_by_an_ordinary_user_whose_they_are() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, NOBODY, NOBODY)
        child = os.fork()
        if child == 0:
            os._exit(_remove_what_is_closed(Path(place)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert list(Path(place).glob("jobs/*")) == []


def _remove_what_is_closed(place: Path) -> int:
    """As an ordinary user; an exit code."""
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        made = Workspace(place / "jobs", "j-1")
        made.make({}, {})
        closed = made.work / "closed"
        (closed / "inner").mkdir(parents=True)
        (closed / "inner" / "file").write_text("x")
        for folder in (closed / "inner", closed):
            folder.chmod(0)
        made.remove()
    except BaseException:  # noqa: BLE001 (the parent is a test, and must not go on twice)
        return 1
    return 0


@pytest.mark.parametrize("name", [b"M\xfcller.txt", b"line\nbreak", b"back\\slash", b"x" * 200])
def test_a_name_that_no_message_can_carry_is_the_tools_fault_and_said_escaped(workspace, name):
    folder = workspace.work / "output" / "files"
    folder.mkdir()
    (folder / os.fsdecode(name)).write_bytes(b"x")
    with pytest.raises(ToolFaultError) as raised:
        seal(workspace, out("files", folder=True))
    assert raised.value.code == "tool_fault.output_name"
    assert raised.value.message.encode()


@pytest.mark.slow
@given(st.binary(max_size=2000) | st.just(b"[" * 100_000) | st.just(b'{"a":' * 50_000))
@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_status_file_is_read_or_is_the_tools_fault(workspace, written):
    (workspace.work / "output" / "status.json").write_bytes(written)
    try:
        workspace.probe_result("status.json")
    except ToolFaultError as error:
        assert error.message == "status file status.json is no JSON"


@pytest.mark.slow
async def test_copy_that_nobody_waits_for_ends_before_its_folder_is_removed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace.work / "output" / "files"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03}").write_bytes(b"x")
    begun, go_on, over, copied = threading.Event(), threading.Event(), threading.Event(), []
    real = module._copy_file

    def slowly(base: int, path: str, target: Path, *more: Any) -> tuple[str, int]:
        begun.set()
        go_on.wait(10)
        copied.append(path)
        return real(base, path, target, *more)

    def seal(*arguments: Any) -> None:
        try:
            workspace.seal(*arguments)
        finally:
            over.set()

    monkeypatch.setattr(module, "_copy_file", slowly)
    sealing = asyncio.create_task(stoppable(seal, [out("files", folder=True)], workspace.sealed))
    await asyncio.to_thread(begun.wait, 10)
    sealing.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await sealing
    workspace.remove()
    assert await asyncio.to_thread(over.wait, 10)
    assert len(copied) == 1
    assert not workspace.root.exists()


def test_copy_of_one_large_file_is_stopped_within_it(workspace: Workspace) -> None:
    with (workspace.work / "output" / "r").open("wb") as large:
        large.truncate(50 << 20)
    flag = StopFlag()
    flag.set()
    with pytest.raises(StoppedError):
        workspace.seal([out("r", max_mb=100)], workspace.sealed, flag)
