"""``fedproc site policy check`` and ``settings check``: what the playbooks ask before they write a file."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from fedproc.cli.main import application
from fedproc.common.errors import InvalidInputError

LINE = '[[tools]]\nid = "cohort-statistics"\ndigest = "*"\n'


def checked(kind: str, text: str, tmp_path) -> Result:
    (tmp_path / "written.toml").write_text(text)
    arguments = ["site", kind, "check", str(tmp_path / "written.toml")]
    return CliRunner().invoke(application(arguments), arguments)


def refusal(kind: str, text: str, tmp_path) -> str:
    done = checked(kind, text, tmp_path)
    assert isinstance(done.exception, InvalidInputError), done.output
    return done.exception.message


def test_a_policy_with_a_misspelt_key_is_refused_by_key_and_tool(tmp_path):
    said = refusal("policy", LINE + 'user = ["alice"]\n', tmp_path)
    assert "tools no. 1 (cohort-statistics).user: there is no such key; did you mean users?" in said


def test_a_good_policy_is_good(tmp_path):
    done = checked("policy", LINE + 'users = ["alice"]\n', tmp_path)
    assert (done.exit_code, "good" in done.output) == (0, True)


def test_a_line_that_never_counts_is_refused(tmp_path):
    assert "no. 2 (cohort-statistics) never counts" in refusal("policy", LINE + LINE, tmp_path)


def test_settings_with_a_misspelt_key_are_refused_by_key_and_dataset(tmp_path):
    said = refusal("settings", '[datasets."a.b"]\npth = "/srv"\n', tmp_path)
    assert "datasets.a.b.pth: there is no such key; did you mean path?" in said


@pytest.mark.process
def test_what_is_piped_in_is_read(tmp_path):
    command = [sys.executable, "-m", "fedproc.cli", "site", "policy", "check", "/dev/stdin"]
    done = subprocess.run(command, input="minimum_cuont = 1\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "fedproc: /dev/stdin: minimum_cuont: there is no such key; did you mean minimum_count?"
    )
    assert "Traceback" not in done.stderr
