"""Where results go is looked at before anything is started or fetched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedproc.client import results
from fedproc.client.results import check_folder, fetch_results, in_plain, places
from fedproc.common.errors import InvalidInputError

ONE, OTHER = "e-" + "0" * 26, "e-" + "1" * 26


def _refused(folder: Path, experiment: str | None = None) -> str:
    with pytest.raises(InvalidInputError) as error:
        check_folder(folder, experiment)
    assert str(folder) in error.value.message
    return error.value.message


def test_a_new_or_empty_folder_is_taken_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path / "a" / "b", ONE)
    assert list(tmp_path.iterdir()) == []
    check_folder(tmp_path, ONE)
    assert tmp_path.is_dir()


def test_a_file_in_its_place_or_above_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "is a file" in _refused(tmp_path / "file")
    assert "is a file" in _refused(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("experiment", [None, ONE])
def test_folder_of_something_else_is_refused_to_new_and_to_old_experiments(
    tmp_path: Path, experiment: str | None
) -> None:
    (tmp_path / "thesis.docx").write_text("mine")
    assert "it holds thesis.docx; choose an empty or a new folder" in _refused(tmp_path, experiment)


def test_notes_beside_an_experiments_own_report_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.json").write_text(json.dumps({"experiment": ONE}))
    check_folder(tmp_path, ONE)


def test_results_of_two_experiments_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"experiment": ONE}))
    check_folder(tmp_path, ONE)
    assert f"results of {ONE}" in _refused(tmp_path, OTHER)
    assert f"results of {ONE}" in _refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", "{}"),
        ("report.json", "no JSON"),
        ("report.txt", "What I found"),
        ("report.txt", f"Experiment:  {OTHER}\n"),
    ],
)
def test_report_of_somebody_else_is_not_overwritten(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert f"it holds {name}; choose an empty or a new folder" in _refused(tmp_path, ONE)
    assert (tmp_path / name).read_text() == content


def test_report_of_the_same_experiment_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text(f"Experiment:  {ONE}\nLabel:  x\n")
    check_folder(tmp_path, ONE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_in_which_one_may_not_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "Permission denied" in _refused(tmp_path)
    assert "Permission denied" in _refused(tmp_path / "below")


def test_a_place_in_which_nobody_can_write() -> None:
    assert "choose another folder" in _refused(Path("/proc/results"))


def test_fetch_that_is_cut_leaves_a_report_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "report_of", lambda *_: {"experiment": ONE, "complete": False})
    monkeypatch.setattr(results, "text_of", lambda report: f"Experiment:  {ONE}\n{report['complete']}")
    entry = SimpleNamespace(host="UB", task="a", path="a.json", state="complete", plain_sha256=None, sha256="0")

    def cut(*_: Any) -> Path:
        raise KeyboardInterrupt

    client: Any = SimpleNamespace(results=lambda _: [entry], fetch=cut)
    with pytest.raises(KeyboardInterrupt):
        fetch_results(client, ONE, tmp_path)
    assert (tmp_path / "report.txt").read_text().endswith("False")
    client.fetch = lambda _, place: place
    fetch_results(client, ONE, tmp_path)
    assert (tmp_path / "report.txt").read_text().endswith("True")


def _entry(task: str, path: str, plain: str | None = None) -> Any:
    return SimpleNamespace(host="UB", task=task, path=path, state="complete", plain_sha256=plain)


def test_what_is_decrypted_has_a_place_of_its_own_beside_what_came_in_plain() -> None:
    entries = [_entry("local", "result.json"), _entry("combine", "result.json", "a" * 64)]
    found = [str(place) for place in places(entries)]
    assert found == ["UB/local/result.json", "UB/combine/result.json.c4gh"]
    assert [str(place) for place in places(entries[1:])] == ["UB/result.json.c4gh"]


def test_what_came_in_plain_is_named() -> None:
    entries = [_entry("local", "part.json"), _entry("combine", "result.json", "a" * 64)]
    assert in_plain(entries) == ["UB/part.json"]
