"""The command line: exit codes, the forms of output, and what it says of wrong arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedproc.onboarding.cli import main
from fedproc.onboarding.model import report

pytestmark = pytest.mark.process

OURS = 'format = 1\nid = "ours"\ntitle = "ours"\n[[requirement]]\ncheck = "memory.size"\nsource = "us"\n'


@pytest.mark.parametrize(
    ("limits", "code", "verdict"),
    [
        ("minimum = 0.001\nrecommended = 0.002\n", 0, "meets-recommended"),
        ("minimum = 0.001\nrecommended = 900000\n", 1, "meets-minimum"),
        ("recommended = 900000\n", 1, "meets-minimum"),
        ("minimum = 900000\n", 2, "fails"),
    ],
)
def test_the_exit_code_is_the_verdict(check: Any, tmp_path: Path, limits: str, code: int, verdict: str) -> None:
    (tmp_path / "ours.toml").write_text(OURS + limits)
    result = check("--profile-file", str(tmp_path / "ours.toml"))
    assert (result.code, result.report["exit_code"], result.verdicts) == (code, code, {"memory.size": verdict})


def test_a_requirement_that_could_not_be_told_is_exit_code_2(check: Any) -> None:
    result = check("--only", "data-api")
    assert (result.code, result.verdicts) == (2, {"data-api.access": "could-not-tell"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--profile", "d7"), "there is no profile 'd7'; use one of d6.1, "),
        (("--only", "gpu,netwrok"), "there is no topic 'netwrok'; use some of: gpu, cpu"),
        (("--service", "https://api.example.org"), "write NAME=URL"),
        (("--service", "api=api.example.org"), "no address that can be checked"),
        (("--ca-sha256", "12"), "64 hexadecimal digits"),
        (("--dataset-gb", "-3"), "write a number above 0"),
        (("--no-such-option",), "unrecognized arguments"),
        (("--profile-file", "/nowhere/p.toml"), "/nowhere/p.toml: cannot be read"),
        (("--settings", "/nowhere/s.toml"), "/nowhere/s.toml: cannot be read"),
        (("--profile", "d6.1", "--profile-file", "x"), "not allowed with"),
        (("--proxy-file", "/nowhere/proxy"), "/nowhere/proxy cannot be read"),
        (("--proxy-file", "/dev/null"), "may be read by others"),
    ],
)
def test_wrong_arguments_are_exit_code_64_and_one_sentence(check: Any, arguments: tuple[str, ...], says: str) -> None:
    done = check.run(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("fedproc-check: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_only_looks_at_nothing_else_and_says_so(check: Any) -> None:
    result = check("--only", "memory,os")
    assert {line["topic"] for line in result.report["lines"]} == {"memory", "os"}
    facts = {name for name, value in result.report["facts"].items() if value}
    assert facts == {"memory", "os"}
    assert result.report["only"] == ["memory", "os"]
    assert "(only memory, os)" in check.run("--only", "memory,os").stdout


def test_the_json_has_the_promised_keys_and_reads_back(check: Any) -> None:
    """Programs rely on these: a key may be added, never taken away or renamed while ``format`` is 1."""
    result = check("--only", "cpu,memory,disk,os,container")
    assert set(result.report) >= {"format", "program", "host", "time", "seconds", "profile", "only", "lines", "facts"}
    line = {"id", "topic", "requirement", "source", "measured", "verdict", "cure", "required", "fault"}
    assert all(set(found) >= line for found in result.report["lines"])
    assert set(result.report["profile"]) >= {"id", "title", "sha256"}
    again = report.to_json(report.from_json(result.report))
    assert again == result.report


def test_each_line_has_requirement_source_measured_verdict_and_cure(check: Any) -> None:
    done = check.run("--profile", "d6.1", "--only", "memory,data-api")
    text = " ".join(done.stdout.split())
    assert (
        "could not tell access to the site's Data API measured: no Data API is given what to do: give its URL" in text
    )
    assert "source: D6.1, Requirements, Non functional 4" in text


def test_output_stays_plain_where_nobody_looks_and_ascii_where_that_is_all_there_is(check: Any) -> None:
    environment = {**check.full_environment, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "fedproc.onboarding", "--only", "memory"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout
    assert done.stderr == b"", "no progress where standard error is no terminal"


def test_progress_is_shown_on_a_terminal(check: Any) -> None:
    controller, terminal = os.openpty()
    command = [sys.executable, "-m", "fedproc.onboarding", "--only", "memory,os"]
    with os.fdopen(controller, "rb", buffering=0) as seen:
        done = subprocess.run(
            command, env=check.full_environment, stdout=subprocess.PIPE, stderr=terminal, timeout=120, check=False
        )
        os.close(terminal)
        shown = seen.read(65536)
    assert b"0/2 measured" in shown
    assert b"1/2 measured" in shown
    assert shown.endswith(b"\r\x1b[K"), "the line is gone at the end"
    assert b"measured (" not in done.stdout


def test_the_page_is_written_whole_and_what_cannot_be_written_is_exit_code_73(check: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = check.run("--only", "memory", "--html", str(page))
    assert page.read_text().startswith("<!doctype html>")
    assert done.returncode in (0, 1, 2)
    failed = check.run("--only", "memory", "--html", str(tmp_path / "no" / "report.html"))
    assert failed.returncode == 73
    assert "cannot be written: No such file or directory; choose another place" in failed.stderr


def test_a_reader_that_leaves_early_is_no_fault(check: Any) -> None:
    command = [sys.executable, "-m", "fedproc.onboarding", "--only", "memory"]
    with subprocess.Popen(
        command, env=check.full_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(120) in (0, 1, 2)


def test_a_hosts_settings_say_what_to_check(check: Any, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    settings = tmp_path / "site.toml"
    settings.write_text(
        f'host = "UB"\nstate = "{tmp_path}"\nkey = "{tmp_path}/key.pem"\n[centre]\n'
        'api_url = "https://api.invalid"\nissuer_url = "https://id.invalid"\nbroker_host = "broker.invalid"\n'
        f'[datasets.a]\npath = "{tmp_path}/pictures"\n'
    )
    result = check("--settings", str(settings), "--only", "network,data-api,disk,credentials")
    assert {"network.api", "network.identity", "network.broker"} <= set(result.lines)
    assert result.faults == {"dns"}
    assert result.verdicts["data-api.access"] == "meets-recommended"
    assert f"free for {tmp_path}" in result.lines["disk.work"]["measured"]
    assert "key.pem: No such file" in result.lines["credentials.modes"]["measured"]


@pytest.mark.process
def test_without_proc_nothing_is_guessed() -> None:
    """Where /proc cannot be read the lines say so, one by one, and the check itself goes on."""
    if os.geteuid() != 0:
        pytest.skip("not root: a mount namespace cannot be made here")
    root = Path(__file__).parents[2] / "controllers"
    script = (
        f"mount -t tmpfs none /proc && exec {sys.executable} -m fedproc.onboarding check --json --only cpu,memory,os"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = {line["id"]: line for line in json.loads(done.stdout)["lines"]}
    assert found["memory.size"]["verdict"] == "could-not-tell"
    assert "/proc/meminfo" in found["memory.size"]["measured"]
    assert done.returncode == 2


def test_installed_host_is_checked_by_its_own_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed = tmp_path / "host.toml"
    installed.write_text(f'[check]\nprofile = "tier2"\n[datasets.a]\npath = "{tmp_path}"\n')
    for arguments, profile, place in (
        ([], "tier2", [str(tmp_path)]),
        (["--profile", "fedproc"], "fedproc", [str(tmp_path)]),
        (["--settings", "/dev/null"], "d6.1", []),
    ):
        main(["check", "--json", "--only", "data-api", *arguments], program="fedproc site", installed=installed)
        found = json.loads(capsys.readouterr().out)
        assert found["profile"]["id"] == profile
        assert [entry["place"] for entry in found["facts"]["data_apis"]] == place
    main(["check", "--json", "--only", "memory"], program="fedproc site", installed=tmp_path / "none.toml")
    assert json.loads(capsys.readouterr().out)["profile"]["id"] == "d6.1"
