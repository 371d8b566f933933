"""Why a job ended goes to the researcher, and nobody releases it: it quotes no tool, and names no path of the host."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from fedproc.common.errors import FedprocError
from fedproc.common.log import get_logger
from fedproc.contract.tool.task import OutputDecl, StatusProbe
from fedproc.contract.wire.messages import DatasetUse
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.dataset_settings import DatasetSettings
from fedproc.site.executors.base import Observation, Phase
from fedproc.site.jobs.execution import Execution
from fedproc.site.jobs.verdict import verdict_of
from fedproc.site.jobs.workspace import Workspace

ROW = "Maria-Serra-1961-07-04"


def reason_and_log(error: Exception) -> tuple[str, str]:
    """What leaves, and what the host's log keeps."""
    with capture_logs() as told:
        verdict = verdict_of(error, get_logger("fedproc.tests.verdict"))
    return f"{verdict.code} {verdict.reason}", str(told)


def failing_in(folder: Path, make: Any) -> FedprocError:
    workspace = Workspace(folder, "job")
    workspace.make({}, {})
    output = workspace.work / "output" / "all"
    output.mkdir()
    make(output)
    with pytest.raises(FedprocError) as raised:
        workspace.seal([OutputDecl(name="all", path="all", folder=True, disclosure="aggregate")], workspace.sealed)
    return raised.value


@pytest.mark.parametrize(
    "make",
    [
        lambda output: os.mkfifo(output / ROW),
        lambda output: (output / (ROW + "\\")).touch(),
        lambda output: (output / ROW).symlink_to("/etc/passwd"),
        lambda output: (output / (ROW + "x" * 128)).mkdir(),
    ],
    ids=["fifo", "name", "link", "folder"],
)
def test_name_of_a_file_stays_at_the_host(tmp_path: Path, make: Any) -> None:
    left, _ = reason_and_log(failing_in(tmp_path, make))
    assert ROW not in left
    assert "all" in left


@pytest.mark.parametrize("value", [ROW, [ROW], {"a": ROW}, 19610704, None, True])
def test_word_of_a_tools_status_stays_at_the_host(tmp_path: Path, value: Any) -> None:
    probe = StatusProbe(file="result.json")
    workspace = SimpleNamespace(probe_result=lambda _: {"status": value})
    execution: Any = Execution.__new__(Execution)
    execution._prepared = SimpleNamespace(task=SimpleNamespace(status=probe), workspace=workspace)
    with pytest.raises(FedprocError) as raised:
        execution._check_status()
    left, kept = reason_and_log(raised.value)
    assert str(value) not in left
    assert str(value) in kept


def test_what_a_lost_sandbox_said_last_stays_at_the_host() -> None:
    execution: Any = Execution.__new__(Execution)
    with pytest.raises(FedprocError) as raised:
        execution._judge(Observation(phase=Phase.exited, detail=ROW), last=True)
    left, kept = reason_and_log(raised.value)
    assert ROW not in left
    assert ROW in kept


def test_path_of_the_host_stays_there(tmp_path: Path) -> None:
    left, _ = reason_and_log(PermissionError(13, "Permission denied", f"/data/{ROW}"))
    assert left == "system_fault.os the host's system said: Permission denied"


async def test_folder_of_a_dataset_stays_at_the_host(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("[")
    offered = FolderDataApi({"cohort": DatasetSettings(path=tmp_path)}, tmp_path.with_name("indexes"))
    with pytest.raises(FedprocError) as raised:
        await offered.materialise(DatasetUse(id="cohort"), "j-1", lambda _: None)
    left, kept = reason_and_log(raised.value)
    assert str(tmp_path) not in left
    assert str(tmp_path) in kept
