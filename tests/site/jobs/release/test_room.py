"""A disk that is full while outputs are sealed is no fault of the tool: the job waits until there is room."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fedproc.contract.tool.task import OutputDecl
from fedproc.site.jobs import workspace as workspace_module
from fedproc.site.jobs.release import room
from fedproc.site.jobs.workspace import CopyError, Workspace

OUTPUT = OutputDecl(name="model", path="m.bin", disclosure="aggregate", max_mb=8)


async def test_sealing_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_PAUSE", 0.01)
    workspace, said = Workspace(tmp_path / "jobs", "j-x"), [""][:0]
    workspace.make({}, {})
    (workspace.work / "output" / "m.bin").write_bytes(b"x" * 3_000_000)
    real, left = workspace_module.Path.open, 2

    def full(path: Path, *arguments: object, **named: object) -> object:
        nonlocal left
        if "sealed.part" in path.parts and left:
            left -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(workspace_module.Path, "open", full)
    hashes = await room.with_room(lambda what: said.append(what or "on"), workspace.seal, [OUTPUT], workspace.sealed)
    assert said == [room.WAITING, room.WAITING, "on"]
    assert list(hashes) == ["model/m.bin"]
    assert (workspace.sealed / "model" / "m.bin").stat().st_size == 3_000_000


async def test_another_fault_of_the_disk_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "jobs", "j-x")
    workspace.make({}, {})
    (workspace.work / "output" / "m.bin").write_bytes(b"x")
    (tmp_path / "file").write_text("in the place of a folder")
    with pytest.raises(CopyError, match="look at this host's disk"):
        await room.with_room(lambda _: None, workspace.seal, [OUTPUT], tmp_path / "file" / "sealed")
