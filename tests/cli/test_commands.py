"""Commands of researchers and operators against a real API, mistakes included."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.cli.conftest import Call
from tests.support.central_api import Federation

from fedproc.client import session


def test_the_version(fedproc: Call) -> None:
    assert fedproc("--version").out == f"fedproc {version('fedproc')}\n"
    assert "analysis travels" in fedproc("--help").out


def test_every_command_shows_its_help(fedproc: Call) -> None:
    for words in ("run", "follow", "results", "experiments list", "hosts show", "data put", "site status", "login"):
        assert fedproc(*words.split(), "--help").code == 0


# -- text and names of others


@pytest.mark.parametrize("name", ["Patient #12.csv", "a?b=c.csv", "50%20.csv", "ä ü.csv", "[bold].csv", "a;b&c.csv"])
def test_a_file_keeps_its_name(rosa: Call, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"rows")
    put = json.loads(rosa("data", "put", str(tmp_path / name), "--json").out)
    assert (put["path"], put["state"], put["size"]) == (name, "complete", 4)
    assert name in rosa("data", "files").out
    assert json.loads(rosa("data", "put", str(tmp_path / name), f"sub/{name}", "--json").out)["path"] == f"sub/{name}"


def test_a_label_with_brackets_and_a_log_line_with_other_line_ends(federation: Federation, rosa: Call) -> None:
    label = "[/] trial [1]"
    with federation.user() as client:
        started = federation.start(client, label=label)["id"]
    federation.books.dispatch()
    job = federation.books.job_on(started, "UB")
    federation.books.report(job.id, "running")
    federation.books.say(job.id, "stdout", 1, lines=("a\u0085b\u2028c [/x]",))
    for row in federation.books.jobs(started):
        federation.books.report(row.id, "failed", code="x", reason="[/] is [no] style")
    assert label in rosa("experiments").out
    assert label in rosa("experiments", "show", started).out
    said = rosa("follow", started, "--logs")
    assert said.code == 3
    assert r"a\x85b\u2028c [/x]" in said.out
    assert "[/] is [no] style" in said.out
    events = [json.loads(each) for each in rosa("follow", started, "--json").out.splitlines()]
    assert events[-1]["state"] == "failed"


# -- signing in


def test_a_password_is_sent_for_its_own_user_only(
    federation: Federation, fedproc: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation.issuer.passwords |= {"rosa": "correct horse", "olga": "battery staple"}
    monkeypatch.setenv("FEDPROC_USERNAME", "rosa")
    monkeypatch.setenv("FEDPROC_PASSWORD", "correct horse")
    asked: list[str] = []
    monkeypatch.setattr("typer.prompt", lambda text, **_: asked.append(text) or "battery staple")
    said = fedproc("login", "--url", federation.url, "--username", "olga")
    assert (said.code, asked) == (0, ["password of olga"])
    assert "as olga" in said.out
    assert "commands are still those of rosa" in said.err
    monkeypatch.setenv("FEDPROC_OPERATOR_USERNAME", "olga")
    monkeypatch.setenv("FEDPROC_OPERATOR_PASSWORD", "battery staple")
    assert fedproc("login", "--url", federation.url, "--username", "olga").code == 0
    assert len(asked) == 1
    assert session.password_for("rosa") == "correct horse"
    assert session.password_for("nobody") is None
    monkeypatch.delenv("FEDPROC_USERNAME")
    assert session.password_for("nobody") == "correct horse"


# -- finding


def test_an_experiment_is_found_by_its_label(federation: Federation, rosa: Call) -> None:
    with federation.user() as client:
        first = federation.start(client, label="trial 1")["id"]
    for words in ("experiments show", "experiments report", "experiments logs", "results"):
        assert rosa(*words.split(), "trial 1").code == 0, words
    assert first in rosa("experiments", "show", "trial 1").out
    missed = rosa("experiments", "show", "trail 1")
    assert missed.code == 1
    assert missed.err == (
        "fedproc: no experiment of yours has the id or the label 'trail 1'; did you mean trial 1? "
        "fedproc experiments lists them\n"
    )
    with federation.user() as client:
        second = federation.start(client, label="trial 1")["id"]
    several = rosa("experiments", "show", "trial 1").err
    assert "more than one" in several
    assert first in several
    assert second in several


def test_an_operator_sees_his_own_and_with_all_everybodys_with_their_owners(
    federation: Federation, signed_in: Callable[..., Call]
) -> None:
    with federation.user() as client:
        hers = federation.start(client, label="hers")["id"]
    olga = signed_in("olga", "operator", "researcher")
    assert hers not in olga("experiments").out
    assert "no experiment of yours" in olga("experiments", "show", "hers").err
    everybodys = olga("experiments", "list", "--all")
    assert hers in everybodys.out
    assert "owner" in everybodys.out
    assert "rosa" in everybodys.out
    assert "of rosa" in olga("experiments", "show", hers).out


# -- results


def test_results_of_an_experiment_that_failed(federation: Federation, rosa: Call, tmp_path: Path) -> None:
    with federation.user() as client:
        started = federation.start(client)["id"]
    federation.books.dispatch()
    job = federation.books.job_on(started, "UB")
    federation.books.report(job.id, "running")
    federation.upload_output(job, "counts", "counts.json", b"{}")
    federation.books.bring(started, "failed", task="local")
    said = rosa("results", started, "--to", str(tmp_path / "out"))
    assert said.code == 3
    assert f"{started} failed: 1 file and its report are in {tmp_path}/out" in said.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["state"] == "failed"


def test_where_results_go_is_checked_before_anything_runs(federation: Federation, rosa: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "full", Path("/proc/results")):
        said = rosa("run", "count", "--data", "UB:cohort", "-p", "column=age", "--to", str(place))
        assert said.code == 1
        assert said.err.startswith(f"fedproc: results cannot go to {place}")
    with federation.user() as client:
        assert client.get("/experiments").json()["items"] == []


def test_fetching_what_cannot_be_written_says_that_it_is_kept(
    federation: Federation, rosa: Call, tmp_path: Path
) -> None:
    with federation.user() as client:
        started = federation.start(client)["id"]
    federation.books.dispatch()
    job = federation.books.job_on(started, "UB")
    federation.books.report(job.id, "running")
    federation.upload_output(job, "counts", "counts.json", b"{}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "UB").write_text("a file where a host's folder goes")
    said = rosa("results", started, "--to", str(tmp_path / "out"))
    assert said.code == 1
    assert f"fedproc results {started} --to FOLDER fetches them" in said.err
