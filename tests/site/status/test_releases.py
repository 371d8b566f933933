"""Releases by the control socket and by the command line: what waits, its bytes, parts, hostile names and contents."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.site.jobs.test_review import Site
from tests.support.orchestrator import S

from fedproc.cli.main import main
from fedproc.site.journal import Journal
from fedproc.site.status.control import ControlSocket
from fedproc.site.status.releases import release_routes

pytestmark = pytest.mark.process

Call = Callable[..., Any]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.open()
    yield journal
    await journal.close()


@pytest.fixture
async def site(tmp_path: Path, journal: Journal) -> AsyncIterator[Site]:
    made = Site(tmp_path, journal)
    made.host.services.settings.reviewers_group = None  # type: ignore[misc]
    socket = tmp_path / "site.sock"
    control = ControlSocket(socket, release_routes(made.host.services, made.host.orchestrator))
    serving = asyncio.create_task(control.run())
    await made.until(socket.exists)
    yield made
    serving.cancel()
    await made.host.orchestrator.close()


@pytest.fixture
def fedproc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    monkeypatch.setenv("FEDPROC_SITE_SOCKET", str(tmp_path / "site.sock"))
    monkeypatch.delenv("COLUMNS", raising=False)

    async def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedproc", "site", *arguments])

        def run() -> int:
            with pytest.raises(SystemExit) as ended:
                main()
            return int(ended.value.code or 0)

        code = await asyncio.to_thread(run)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


async def test_nothing_waits(fedproc, site):
    assert await fedproc("releases") == (0, "nothing awaits release\n", "")


async def test_a_part_is_looked_at_and_released_by_commands(fedproc, site):
    site.seal(counts='{"n": 12, "n": 13}', curve="3")
    await site.begin()
    code, out, _ = await fedproc("releases")
    assert (code, site.job in out, "aggregate" in out, "0 of 1" in out) == (0, True, True, True)
    (entry,) = json.loads((await fedproc("releases", "--json"))[1])
    assert [file["sha256"] for file in entry["files"]] == list(site.record.sealed.values())
    out = (await fedproc("show", site.job, "counts"))[1]
    assert out.count('"n": 1') == 2  # a key that stands twice is shown twice
    assert "policy.release" in out
    code, out, _ = await fedproc("approve", site.job, "counts", "--reason", "fine")
    assert (code, out) == (3, f"{site.job}: 1 released; 1 still wait\n")
    code, out, _ = await fedproc("refuse", site.job, "--reason", "no", "--json")
    assert (code, json.loads(out)["open"]) == (0, [])
    assert (await site.ended()).code == "release.partly"


async def test_the_rest_is_refused_in_one_command(fedproc, site):
    site.seal(counts="12", curve="3")
    await site.begin()
    code, _, _ = await fedproc("approve", site.job, "curve/curve.txt", "--refuse-rest", "--reason", "fine")
    assert code == 0
    assert (await site.ended()).release.stage == "partly_released"
    assert site.transfer.sent == ["curve/curve.txt"]


async def test_a_name_that_fits_nothing_and_a_job_that_waits_not_are_errors(fedproc, site):
    site.seal(counts="12")
    await site.begin()
    code, _, err = await fedproc("approve", site.job, "nothing", "--reason", "x")
    assert (code, "no output or file" in err) == (1, True)
    code, _, err = await fedproc("approve", "j-" + "0" * 26, "--reason", "x")
    assert (code, "awaits no release" in err) == (1, True)


async def test_what_a_hostile_tool_wrote_is_no_word_to_a_terminal(fedproc, site):
    text = "\x1b]0;mine\x07\x1b[2J\u202e,\x9b31m\n\x1b[1A=cmd()"
    site.seal(counts=text)
    name = "counts/\x1b[2J.csv".replace("\x1b", "\u009b")
    (site.sealed / name).write_text(text)
    site.record.sealed[name] = hashlib.sha256(text.encode()).hexdigest()
    await site.begin()
    for arguments in (("releases",), ("show", site.job, "counts"), ("show", site.job, "counts", "--json")):
        code, out, _ = await fedproc(*arguments)
        assert code == 0
        assert not any((ord(letter) < 32 and letter != "\n") or 127 <= ord(letter) < 160 for letter in out)


async def test_bytes_that_were_swapped_are_not_shown(fedproc, site):
    site.seal(counts="12")
    await site.begin()
    assert "12" in (await fedproc("show", site.job, "counts"))[1]
    (site.sealed / "counts" / "counts.txt").write_text("99")
    code, out, err = await fedproc("show", site.job, "counts")
    assert (code, "99" in out, "not as it was sealed" in err) == (1, False, True)


async def test_the_caller_is_whom_the_kernel_says(fedproc, site):
    site.seal(counts="12")
    site.policy(persons={_account(): ("Alice",)})
    await site.begin()
    code, _, err = await fedproc("approve", site.job, "--reason", "mine")
    assert (code, "made this tool or asked for this job" in err) == (1, True)
    assert site.live.state is S.awaiting_release


def _account() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
