"""Commands of researchers and operators against a real API, mistakes included."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.cli.conftest import Call
from tests.support.central_api import TOOLS, Federation

from fedproc.central.db.engine import write_transaction
from fedproc.central.db.repositories import dataset_columns, datasets
from fedproc.central.db.schema import experiments, hosts, jobs
from fedproc.client import session
from fedproc.contract.wire.datasets import DatasetColumn, DatasetColumns, ImagingSummary, OfferedDataset
from fedproc.contract.wire.releasing import AdmittedTool


@pytest.mark.slow
def test_the_version(fedproc: Call) -> None:
    assert fedproc("--version").out == f"fedproc {version('fedproc')}\n"
    assert "analysis travels" in fedproc("--help").out


@pytest.mark.slow
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
    assert all(value is not None for event in events for value in event.values())


def test_a_file_that_cannot_be_written_or_read_is_named_and_nothing_ran_before(fedproc: Call) -> None:
    said = fedproc("site", "accept", "--to", "/nowhere/found.json", "--config", "/nowhere/host.toml")
    assert (said.code, said.err) == (1, "fedproc: /nowhere/found.json: No such file or directory\n")


def test_fault_of_the_system_without_a_file_is_told(fedproc: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(session, "address", breaks)
    said = fedproc("login", "--username", "rosa")
    assert (said.code, said.err) == (1, "fedproc: No space left on device\n")


def test_id_that_is_a_path_deletes_nothing_else(federation: Federation, rosa: Call) -> None:
    with federation.user() as client:
        started = federation.start(client)["id"]
    federation.books.dispatch()
    federation.books.bring(started, "failed")
    for path in (f"../experiments/{started}", "..", f"./../experiments/{started}"):
        said = rosa("data", "delete", path, "--yes")
        assert (said.code, "Traceback" in said.err) == (1, False)
    assert rosa("data", "show", f"../experiments/{started}").code == 1
    assert rosa("experiments", "show", started).code == 0


def test_nothing_is_done_for_a_deletion_that_nobody_can_agree_to(
    federation: Federation, rosa: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    with federation.user() as client:
        started = federation.start(client, label="to go")["id"]
    said = rosa("experiments", "delete", started, "--yes")
    assert said.err == f"fedproc: {started} has not ended; end it first: fedproc experiments cancel {started}\n"
    monkeypatch.setenv("FEDPROC_URL", "http://127.0.0.1:9")
    for command in (("experiments", "delete", started), ("data", "delete", "f-1")):
        assert "nobody can be asked here: say --yes" in rosa(*command).err


def test_persons_are_told_as_their_host_rounded_them(federation: Federation, rosa: Call) -> None:
    images = ImagingSummary(floor=10, persons=40, studies=40, series=40)
    column = DatasetColumn(name="age", type="integer")
    page = DatasetColumns(dataset="images", version="1", page=0, pages=1, columns=(column,), imaging=images)
    federation.books.beat("BSC", columns=page)
    lines = {line.split()[0]: line for line in rosa("data").out.splitlines() if line.strip()}
    assert "about 40" in lines["BSC:images"]
    assert "about" not in lines["BSC:cohort"]
    assert "how many persons it is of, its host does not tell" in rosa("data", "show", "BSC:cohort").out


def test_description_of_several_lines_is_shown_line_by_line(federation: Federation, rosa: Call, tmp_path: Path) -> None:
    folder = shutil.copytree(TOOLS / "count", tmp_path / "tool")
    text = (folder / "tool.yaml").read_text()
    described = text.replace("description: Counts the", "description: |\n    For a\n    study:\n    Counts the", 1)
    (folder / "tool.yaml").write_text(described.replace("id: count", "id: lines", 1))
    with federation.operator() as olga:
        assert federation.add_tool(folder, olga).status_code == 201
    assert "For a\nstudy:\nCounts the" in rosa("tools", "show", "lines").out
    assert "For a study: Counts the" in rosa("tools", "list").out
    assert "* must be given" in rosa("tools", "show", "lines").out


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run cuont --data UB:cohort", "there is no tool 'cuont'; did you mean count?"),
        ("run Count --data UB:cohort", "tool 'Count' is no name of this kind"),
        ("run count --host ub", "--host 'ub' is no host id: one has capital letters, digits and _, for example UB;"),
        (
            "run count --data UB-cohort",
            "is no dataset: one is HOST:ID, for example UB:breast-cohort; did you mean",
        ),
        ("run count --data UB:cohort --data UB:cohort", "each may be named once only"),
        ("run count --data UB:cohort -p column=age -p limit=many", "parameters.limit: must be a whole number"),
        ("run count --host FORHT -p column=age", "FORHT is not enrolled; did you mean FORTH? (fedproc hosts lists"),
        ("hosts show ub", "there is no host 'ub': it is no host id"),
        ("hosts show FORHT", "did you mean FORTH?"),
        ("tools show count_", "did you mean count?"),
        ("tools show cuont", "did you mean count?"),
        ("experiments list --state done", "state.0 must be one of 'queued', 'running'"),
        ("hosts enrol BSC --role date", "--role must be one of 'data', 'compute' or 'aggregator'"),
    ],
)
def test_mistakes_are_told_in_sentences_with_the_nearest_name(
    signed_in: Callable[..., Call], words: str, told: str
) -> None:
    said = signed_in("rosa", "researcher", "operator")(*words.split())
    assert said.code == 1
    assert told in said.err
    for strange in ("Value error", "String should", "Extra inputs", "pattern", "GET /", "Traceback", "valid tuple"):
        assert strange not in said.err


def test_a_tool_shows_what_each_parameter_wants(rosa: Call) -> None:
    shown = rosa("tools", "show", "count").out
    assert "a whole number of 1 or more" in shown
    assert '{"deep": true or false (optional), "note": text (optional)}' in shown


def test_unknown_experiment_is_told_alike_by_id_and_by_label(rosa: Call) -> None:
    unknown = "e-" + "0" * 26
    for words in ("experiments show", "experiments report", "experiments logs", "experiments cancel", "follow"):
        told = rosa(*words.split(), unknown).err
        assert told == f"fedproc: no experiment of yours has the id {unknown!r}; fedproc experiments lists them\n", (
            words
        )


def test_error_of_several_lines_is_one_block(rosa: Call) -> None:
    first, *rest = rosa("run", "count", "--host", "ub", "--data", "x").err.splitlines()
    assert first.startswith("fedproc: ")
    assert rest
    assert all(line.startswith(" " * len("fedproc: ")) for line in rest)


@pytest.mark.slow
def test_login_without_an_address_does_not_name_itself(fedproc: Call) -> None:
    assert "fedproc login" not in fedproc("login", "--username", "rosa").err
    assert "--url URL" in fedproc("login", "--username", "rosa").err
    assert "run fedproc login --url URL" in fedproc("hosts").err


# -- tools that are sent in


def test_a_tool_that_was_sent_in_is_withdrawn_by_its_provider(rosa: Call) -> None:
    tool = str(Path(__file__).parents[2] / "docs/examples/row_count")
    found = json.loads(rosa("catalog", "submit", tool, "--json").out)["id"]
    assert f"waits already, as {found}" in " ".join(rosa("catalog", "submit", tool).err.split())
    assert f"{found} is withdrawn" in rosa("catalog", "withdraw", found).out
    assert json.loads(rosa("catalog", "submissions", "--json").out) == []


# -- results


def test_run_that_fails_leaves_its_report_and_says_what_to_do(
    federation: Federation, rosa: Call, tmp_path: Path
) -> None:
    with federation.user() as client:
        started = federation.start(client)["id"]
    federation.books.dispatch()
    for row in federation.books.jobs(started):
        federation.books.report(row.id, "failed", code="x", reason="a column is missing")
    said = rosa("follow", started, "--to", str(tmp_path / "out"))
    assert said.code == 3
    assert "next: mend the parameters (fedproc tools show count)" in said.out
    assert "where the tool itself is at fault, tell its provider" in said.out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["state"] == "failed"
    text = (tmp_path / "out" / "report.txt").read_text()
    assert "Files" not in text
    assert "a column is missing" in text
    assert "Not to be cited: it ended failed, so it has no result." in text


def test_results_onto_a_file_are_told_in_one_line(federation: Federation, rosa: Call, tmp_path: Path) -> None:
    with federation.user() as client:
        started = federation.start(client)["id"]
    (tmp_path / "file").write_text("mine")
    said = rosa("results", started, "--to", str(tmp_path / "file"))
    assert said.err == f"fedproc: results cannot go to {tmp_path}/file: {tmp_path}/file is a file; name a folder\n"


def test_a_success_without_a_host_is_told_everywhere(federation: Federation, rosa: Call, tmp_path: Path) -> None:
    with federation.user() as client:
        started = federation.start(client, label="spare")["id"]
    federation.books.dispatch()
    federation.books.bring(started, "running", "succeeded")
    with write_transaction(federation.engine) as connection:  # a tool's rule makes it so: tests/central/experiments
        lost = update(jobs).where(jobs.c.experiment == started, jobs.c.host == "BSC")
        connection.execute(lost.values(state="lost"))
        connection.execute(update(experiments).where(experiments.c.id == started).values(state="succeeded"))
    assert "succeeded without BSC" in rosa("experiments").out
    assert "succeeded without BSC" in rosa("experiments", "show", "spare").out
    assert json.loads(rosa("experiments", "list", "--json").out)[0]["succeeded_without"] == ["BSC"]
    said = rosa("results", "spare", "--to", str(tmp_path / "out"))
    assert said.code == 4
    assert "succeeded without BSC" in said.err
    assert "succeeded without BSC" in (tmp_path / "out" / "report.txt").read_text()


def test_the_report_has_what_one_needs_to_publish_results(federation: Federation, rosa: Call, tmp_path: Path) -> None:
    _offer(federation, "UB", title="Breast cohort", creators=["A. Roe", "B. Poe"])
    with write_transaction(federation.engine) as connection:
        connection.execute(update(hosts).where(hosts.c.id == "UB").values(site="UB Hospital"))
    with federation.user() as client:
        started = federation.start(client, label="cohort 7", purpose="a study")["id"]
    federation.books.dispatch()
    job = federation.books.job_on(started, "UB")
    federation.books.report(job.id, "running")
    federation.upload_output(job, "counts", "counts.json", b'{"warnings": ["two points were joined"]}')
    said = rosa("results", started, "--to", str(tmp_path / "out"))
    assert said.code == 3, "it has not ended"
    assert "before its numbers are used: two points were joined\n" in said.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["experiment"], report["label"], report["purpose"]) == (started, "cohort 7", "a study")
    assert report["tool"]["id"] == "count"
    assert report["tool"]["digest"].startswith("sha256:")
    assert report["citation"].startswith(f"count 1.2.0 ({report['tool']['digest']}) on ")
    assert f"federated experiment {started} at {federation.url}" in report["citation"]
    assert "version 1; A. Roe, B. Poe: “Breast cohort”, UB Hospital, UB:cohort version 1; fed" in report["citation"]
    assert report["citation_lacks"].startswith("the creators of BSC:cohort")
    assert report["warnings"] == ["two points were joined"]
    assert report["parameters"] == {"column": "age", "limit": 10, "delimiter": ","}
    assert {each["id"]: each["version"] for each in report["datasets"]} == {"UB:cohort": "1", "BSC:cohort": "1"}
    assert {each["host"] for each in report["jobs"]} == {"UB", "BSC", "EUCAIM"}
    (file,) = report["files"]
    assert file["sha256"] == hashlib.sha256((tmp_path / "out" / file["path"]).read_bytes()).hexdigest()
    text = (tmp_path / "out" / "report.txt").read_text()
    for part in (
        started,
        "count 1.2.0",
        report["tool"]["digest"],
        'column     = "age"',
        "UB:cohort   version 1",
        "Purpose:     a study (stated by the user)",
        "Not to be cited yet",
        file["sha256"],
    ):
        assert part in text
    assert rosa("results", started, "--to", str(tmp_path / "out")).code == 3, "fetched again"
    with federation.user() as client:
        other = federation.start(client)["id"]
    assert f"it holds results of {started}" in rosa("results", other, "--to", str(tmp_path / "out")).err


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
    _begun(tmp_path / "out", started)
    (tmp_path / "out" / "UB").write_text("a file where a host's folder goes")
    said = rosa("results", started, "--to", str(tmp_path / "out"))
    assert said.code == 1
    assert f"fedproc results {started} --to FOLDER fetches them" in said.err


def _begun(folder: Path, experiment: str) -> None:
    """A folder as a fetch that was cut leaves it."""
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps({"experiment": experiment}))


@pytest.mark.parametrize("partial", [b'{"rows": 1}', b'{"rows": 1}and more', b'{"rows": 7}', b'{"rows"'])
def test_what_a_fetch_left_is_finished_or_fetched_again(
    federation: Federation, rosa: Call, tmp_path: Path, partial: bytes
) -> None:
    """Of a file that came whole but was not renamed there is nothing more to fetch."""
    with federation.user() as client:
        started = federation.start(client)["id"]
    federation.books.dispatch()
    job = federation.books.job_on(started, "UB")
    federation.books.report(job.id, "running")
    federation.upload_output(job, "counts", "counts.json", b'{"rows": 1}')
    _begun(tmp_path / "out", started)
    (tmp_path / "out" / "UB").mkdir()
    (tmp_path / "out" / "UB" / "counts.json.part").write_bytes(partial)
    said = rosa("results", started, "--to", str(tmp_path / "out"))
    assert said.code == 3, said.err
    assert (tmp_path / "out" / "UB" / "counts.json").read_bytes() == b'{"rows": 1}'
    assert list((tmp_path / "out" / "UB").iterdir()) == [tmp_path / "out" / "UB" / "counts.json"]


def test_fetch_that_is_interrupted_says_how_it_goes_on(
    federation: Federation, rosa: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with federation.user() as client:
        started = federation.start(client)["id"]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedproc.cli.run.fetch_results", interrupted)
    said = rosa("results", started, "--to", str(tmp_path / "my results"))
    assert said.code == 130
    assert f"fedproc results {started} --to '{tmp_path}/my results' goes on where it was cut" in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("count --data UB:cohort --input weights={}", ["count takes no files", "--input weights: there is no such"]),
        ("count --data UB:cohort --input DATASET={}", ["count takes no files", "--data HOST:ID"]),
        (
            "train --host UB --input weights={} --input msak={}",
            ["train takes the files weights, mask, note", "did you mean mask?"],
        ),
        ("trian --host UB --input weights={}", ["there is no tool 'trian'; did you mean train?"]),
    ],
)
def test_file_that_a_tool_does_not_take_is_refused_before_anything_starts(
    federation: Federation, rosa: Call, tmp_path: Path, words: str, told: list[str]
) -> None:
    (tmp_path / "small").write_bytes(b"x")
    given = words.replace("{}", f"{tmp_path}/small").replace("DATASET", "table")
    said = rosa("run", *given.split(), "-p", "column=age", "--to", str(tmp_path / "out"))
    assert said.code == 1
    assert all(each in said.err for each in told), said.err
    assert not (tmp_path / "out").exists()
    with federation.user() as client:
        assert client.get("/experiments").json()["items"] == []


def test_experiment_whose_inputs_are_not_sent_is_cancelled(federation: Federation, rosa: Call, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 1_000_001)
    said = rosa("run", "train", "--host", "UB", "--input", f"weights={tmp_path}/large")
    assert said.code == 1
    with federation.user() as client:
        (experiment,) = client.get("/experiments").json()["items"]
    assert experiment["state"] == "cancelled"
    assert f"{experiment['id']} is cancelled, as its inputs were not all sent" in said.err


def test_misspelt_column_is_refused_before_anything_starts(federation: Federation, rosa: Call) -> None:
    columns = tuple(DatasetColumn(name=name, type="integer") for name in ("age", "tumour_size"))
    page = DatasetColumns(dataset="cohort", version="1", page=0, pages=1, columns=columns)
    with write_transaction(federation.engine) as connection:
        dataset_columns.keep(connection, "UB", page, ["cohort"])
    said = rosa("run", "count", "--data", "UB:cohort", "-p", "column=tumor_size")
    assert said.code == 1
    assert "there is no column 'tumor_size' in UB:cohort; did you mean tumour_size?" in said.err
    assert "fedproc data show UB:cohort" in said.err
    assert rosa("run", "count", "--data", "UB:cohort", "-p", "column=tumour_size", "--no-wait").code == 0


# -- dry runs


def test_a_dry_run_says_what_would_be_and_starts_nothing(federation: Federation, rosa: Call) -> None:
    words = ("run", "count", "--data", "UB:cohort", "-p", "column=age", "--dry-run")
    said = rosa(*words)
    assert said.code == 3, "no host admits it"
    assert "ask its site to put it on the allow-list" in said.out
    for host in ("UB", "EUCAIM"):
        federation.books.beat(host, tools=(AdmittedTool(id="count"),))
    said = rosa(*words)
    assert said.code == 0, said.err
    assert "local.counts" in said.out
    assert "waits for a person" in said.out
    assert "nothing was started" in said.out
    found = json.loads(rosa(*words, "--json").out)
    assert [host["host"] for host in found["hosts"]] == ["UB", "EUCAIM"]
    assert json.loads(rosa("experiments", "list", "--json").out) == []


def test_a_part_that_was_released_is_told_everywhere(federation: Federation, rosa: Call, tmp_path: Path) -> None:
    with federation.user() as client:
        started = federation.start(client, label="part", datasets=["UB:cohort"])["id"]
    federation.books.dispatch()
    job = federation.books.job_on(started, "UB")
    waits = {"stage": "under_review", "since": "2026-11-02T09:00:00Z", "until": "2026-11-11T09:00:00Z"}
    federation.books.report(job.id, "awaiting_release", release=waits)
    with federation.user() as client:
        jobs = client.get(f"/experiments/{started}").json()["jobs"]
        (shown,) = [each for each in jobs if each["id"] == job.id]
        assert shown["release"]["text"].endswith("09:00 UTC; none leaves if nobody decides by 2026-11-11 09:00 UTC")
    text = "the site released a part"
    decided = {"stage": "partly_released", "decided": "2026-11-03T09:00:00Z"}
    federation.books.report(job.id, "succeeded", code="release.partly", reason=text, release=decided)
    federation.books.dispatch()
    federation.books.bring(started, "running", "succeeded")
    assert "partly released by UB" in rosa("experiments").out
    assert "partly released by UB" in rosa("experiments", "show", "part").out
    assert json.loads(rosa("experiments", "list", "--json").out)[0]["partly_released"] == ["UB"]
    said = rosa("results", "part", "--to", str(tmp_path / "out"))
    assert said.code == 5
    assert "a part alone, by UB" in (tmp_path / "out" / "report.txt").read_text()


def test_a_host_of_the_release_before_says_no_more_than_that_it_waits(federation: Federation) -> None:
    with federation.user() as client:
        started = federation.start(client, datasets=["UB:cohort"])["id"]
        federation.books.dispatch()
        federation.books.report(federation.books.job_on(started, "UB").id, "awaiting_release")
        (shown,) = [job for job in client.get(f"/experiments/{started}").json()["jobs"] if job["host"] == "UB"]
    assert shown["release"]["stage"] == "under_review"


# -- descriptions of several hospitals


def _describe(federation: Federation, host: str, *columns: DatasetColumn) -> None:
    page = DatasetColumns(dataset="cohort", version="1", page=0, pages=1, columns=columns)
    with write_transaction(federation.engine) as connection:
        dataset_columns.keep(connection, host, page, ["cohort"])


def test_two_hospitals_descriptions_are_compared(federation: Federation, rosa: Call) -> None:
    age, size = DatasetColumn(name="age", type="number", unit="a"), DatasetColumn(name="size", type="number", unit="mm")
    _describe(federation, "UB", age, size)
    assert "no columns are described of BSC:cohort" in rosa("data", "compare", "UB:cohort", "BSC:cohort").err
    assert "name two datasets or more" in rosa("data", "compare", "UB:cohort", "UB:cohort").err
    _describe(federation, "BSC", size, age)
    same = rosa("data", "compare", "UB:cohort", "BSC:cohort")
    assert (same.code, same.out) == (0, "the descriptions say the same of each column of UB:cohort, BSC:cohort\n")
    _describe(federation, "BSC", age.model_copy(update={"unit": "mo"}))
    differs = rosa("data", "compare", "UB:cohort", "BSC:cohort", "--json")
    assert differs.code == 3
    assert json.loads(differs.out) == [
        {"column": "age", "what": "unit", "found": {"UB:cohort": "a", "BSC:cohort": "mo"}},
        {"column": "size", "what": "missing", "found": {"UB:cohort": "there", "BSC:cohort": "missing"}},
    ]
    table = rosa("data", "compare", "UB:cohort", "BSC:cohort")
    assert table.code == 3
    assert ["age", "unit", "a", "mo"] in [line.split() for line in table.out.splitlines()]


def test_columns_that_a_run_uses_and_that_differ_are_said_before_it_starts(federation: Federation, rosa: Call) -> None:
    for host, unit in (("UB", "a"), ("BSC", "mo")):
        columns = (DatasetColumn(name=name, type="number", unit=unit) for name in ("age", "other"))
        _describe(federation, host, *columns)
    run = ("run", "count", "--data", "UB:cohort", "--data", "BSC:cohort", "--no-wait")
    said = rosa(*run, "-p", "column=age")
    assert said.code == 0
    assert "note: age: unit a at UB:cohort, mo at BSC:cohort\n" in said.err
    assert "other" not in said.err


# -- datasets that are looked for


def _offer(federation: Federation, host: str, **changes: object) -> None:
    hosts = federation.books.hosts
    offered = (OfferedDataset(id="cohort", version="1", description=f"cohort of {host}", **changes),)
    beat = hosts.heartbeat(host, ()).model_copy(update={"datasets": offered})
    federation.books.take((host, hosts.seal(host, beat)))


def test_datasets_are_found_by_what_they_are_and_by_their_entry_in_a_catalogue(
    federation: Federation, rosa: Call
) -> None:
    for host in ("UB", "BSC"):
        _offer(federation, host, catalogue="eucaim:breast")
    _describe(federation, "UB", DatasetColumn(name="age", type="number"))
    with write_transaction(federation.engine) as connection:
        datasets.describe(connection, "UB", "cohort", "1")
    found = rosa("data", "list", "--column", "AGE", "--text", "cohort")
    assert ("UB:cohort" in found.out, "BSC:cohort" in found.out) == (True, False)
    assert "no dataset fits all of this; fedproc data shows all" in rosa("data", "list", "--modality", "CT").out
    both = json.loads(rosa("data", "list", "--catalogue", "eucaim:breast", "--json").out)
    assert [entry["id"] for entry in both] == ["BSC:cohort", "UB:cohort"]
    shown = rosa("data", "show", "eucaim:breast").out
    assert "BSC:cohort  version" in shown
    assert shown.count("in a catalogue: eucaim:breast") == 2
    started = json.loads(rosa("run", "count", "--data", "eucaim:breast", "-p", "column=age", "--no-wait", "--json").out)
    assert started["datasets"] == ["BSC:cohort", "UB:cohort"]
    assert "no host offers a dataset of eucaim:lung" in rosa("data", "show", "eucaim:lung").err


def test_centre_that_knows_no_filters_is_told_apart(
    federation: Federation, rosa: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedproc.central.api.routes.datasets.FILTERS", ())
    said = rosa("data", "list", "--modality", "CT")
    assert (said.code, said.out) == (1, "")
    assert "this centre does not find datasets by modality yet" in said.err
    assert rosa("data", "list", "--host", "UB").code == 0


def test_record_is_saved_as_one_zip_and_nothing_is_overwritten(
    federation: Federation, rosa: Call, tmp_path: Path
) -> None:
    with federation.user() as client:
        started = federation.start(client)["id"]
    place = tmp_path / "record.zip"
    assert f"{place} has the record of {started}" in rosa("experiments", "crate", started, "--to", str(place)).out
    assert place.read_bytes()[:2] == b"PK"
    again = rosa("experiments", "crate", started, "--to", str(place))
    assert (again.code, "is there already" in again.err) == (1, True)


def test_federation_without_a_dataset_says_so(federation: Federation, rosa: Call) -> None:
    for host in ("UB", "BSC", "FORTH"):
        federation.books.beat(host, ())
    assert rosa("data").out == "no host offers a dataset yet\n"
