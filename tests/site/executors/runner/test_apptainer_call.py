"""What Apptainer is told of a job, and what its last words mean, where it is not installed either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedproc.site.executors.runner import apptainer
from fedproc.site.executors.runner.order import Order, OrderError, order_of

ORDER: dict[str, Any] = {
    "job": "j-1", "command": ["true"], "environment": {"MINE": "a,b"}, "mounts": [], "writable": [],
    "directory": "/fedproc/work", "hosts": [["127.0.1.1", "server.fedproc.internal"]], "devices": [], "cpus": 1,
    "memory": 96 << 20, "disk": 1000, "pids": 24, "log": 1000, "signal": "SIGTERM", "grace": 1, "by": "apptainer",
}  # fmt: skip


def call(folder: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> list[str]:
    monkeypatch.setattr(apptainer, "program", lambda: "/usr/bin/apptainer")
    order: Order = order_of({**ORDER, **more})
    made = apptainer.apptainer_for(order, folder=folder, staging=False, status=1)
    return [*made.arguments, *made.before]


def test_a_folder_with_a_comma_and_a_colon_is_one_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data := tmp_path / "odd, name:ro").mkdir()
    words = call(tmp_path, monkeypatch, root=str(tmp_path), mounts=[[str(data), "/data"]])
    assert f'type=bind,"source={data}",destination=/data,ro' in words


def test_what_it_is_told_is_written_beside_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = call(tmp_path, monkeypatch, root=str(tmp_path))
    settings = tmp_path / "apptainer"
    assert words[words.index("APPTAINERENV_MINE") + 1] == "a,b"
    assert "APPTAINERENV_HOME" not in words
    assert "server.fedproc.internal" in (settings / "hosts").read_text()
    assert "sessiondir max size = 48\n" in (settings / "apptainer.conf").read_text()
    refused = {
        name for rule in json.loads((settings / "seccomp.json").read_text())["syscalls"] for name in rule["names"]
    }
    assert "unshare" in refused
    assert "clone3" not in refused


def test_a_job_without_image_and_an_unknown_program_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OrderError, match="runs images alone"):
        call(tmp_path, monkeypatch)
    with pytest.raises(OrderError, match="nothing that this runner starts jobs by"):
        order_of({**ORDER, "by": "/bin/sh"})


@pytest.mark.parametrize(
    ("printed", "errors", "code"),
    [
        ("", 'FATAL:   "nosuch": executable file not found in $PATH\n', 127),
        ("", "FATAL:   container creation failed: mount /proc\n", None),
        ("a result", "FATAL:   my own words\n", "its own"),
        ("", "my own words\n", "its own"),
        ("", "", "its own"),
    ],
)
def test_its_last_words_are_taken_for_its_own_where_nothing_was_printed(
    tmp_path: Path, printed: str, errors: str, code: object
) -> None:
    if printed:
        (tmp_path / "stdout").write_text(printed)
    (tmp_path / "stderr").write_text(errors)
    found = apptainer.explain(tmp_path)
    assert (found[0] if found else "its own") == code
