"""``fedproc site policy check`` and ``settings check``: what the playbooks ask before they write a file."""

from __future__ import annotations

import subprocess
import sys

import pytest

POLICY = """
[[tools]]
id = "cohort-statistics"
digest = "*"
{line}
"""


def checked(kind: str, text: str, tmp_path, *, piped: bool = False) -> subprocess.CompletedProcess[str]:
    (tmp_path / "written.toml").write_text(text)
    place = "/dev/stdin" if piped else str(tmp_path / "written.toml")
    return subprocess.run(
        [sys.executable, "-m", "fedproc.cli", "site", kind, "check", place],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("piped", [True, False])
def test_a_policy_with_a_misspelt_key_is_refused_by_key_and_tool(tmp_path, piped):
    done = checked("policy", POLICY.format(line='user = ["alice"]'), tmp_path, piped=piped)
    assert done.returncode == 1
    assert "tools no. 1 (cohort-statistics).user: there is no such key; did you mean users?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_good_policy_is_good(tmp_path):
    done = checked("policy", POLICY.format(line='users = ["alice"]'), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "good" in done.stdout


def test_a_line_that_never_counts_is_refused(tmp_path):
    done = checked("policy", POLICY.format(line="") + POLICY.format(line='users = ["alice"]'), tmp_path)
    assert done.returncode == 1
    assert "no. 2 (cohort-statistics) never counts" in done.stderr


def test_settings_with_a_misspelt_key_are_refused_by_key_and_dataset(tmp_path):
    done = checked("settings", '[datasets."a.b"]\npth = "/srv"\n', tmp_path)
    assert done.returncode == 1
    assert "datasets.a.b.pth: there is no such key; did you mean path?" in done.stderr
    assert "Traceback" not in done.stderr
