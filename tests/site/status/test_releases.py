"""Releases by the control socket and by the command line: what waits, its bytes, parts, hostile names and contents."""

from __future__ import annotations

import asyncio
import grp
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.site.jobs.release.test_review import Site
from tests.support.orchestrator import S

from fedproc.cli.main import main
from fedproc.cli.site.control import ask
from fedproc.common.errors import FedprocError, ForbiddenError, InvalidInputError
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
    assert (code, "awaits no release here: it is decided, has ended, or was never" in " ".join(err.split())) == (
        1,
        True,
    )


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


@pytest.fixture
def socket() -> Iterator[Path]:
    """Where every account comes to it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder, "review.sock")


def status_of(socket: Path) -> tuple[int, int] | None:
    found = socket.stat() if socket.exists() else None
    return None if found is None else (stat.S_IMODE(found.st_mode), found.st_gid)


async def test_reviewers_have_a_socket_of_their_group_which_serves_releases_alone(site, socket):
    group = grp.getgrgid(os.getgid()).gr_name
    control = ControlSocket(socket, release_routes(site.host.services, site.host.orchestrator), group)
    serving = asyncio.create_task(control.run())
    await site.until(lambda: status_of(socket) == (0o660, os.getgid()))
    assert await asyncio.to_thread(ask, socket, "GET", "/releases") == []
    with pytest.raises(FedprocError, match="no such thing here"):
        await asyncio.to_thread(ask, socket, "POST", "/stop")
    serving.cancel()


async def test_a_group_that_is_not_there_is_said_at_the_start(site, tmp_path):
    control = ControlSocket(tmp_path / "review.sock", [], "no-such-group")
    with pytest.raises(InvalidInputError, match="reviewers_group 'no-such-group'"):
        await control.run()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is another account")
async def test_two_accounts_are_two_persons(site, socket, monkeypatch):
    """Each is a process of its own, as the kernel names it; one that is not of the group is no second person."""
    reviewers = SimpleNamespace(gr_gid=-1, gr_mem=["daemon", "bin"])  # the machine's own groups stay as they are
    monkeypatch.setattr("fedproc.site.status.control.grp.getgrnam", lambda _name: reviewers)
    site.host.services.settings.reviewers_group = "reviewers"
    site.policy(reviewers={"aggregate": 2})
    site.seal(counts="12")
    await site.begin()
    control = ControlSocket(socket, release_routes(site.host.services, site.host.orchestrator))
    serving = asyncio.create_task(control.run())
    await site.until(lambda: status_of(socket) is not None)
    await asyncio.to_thread(socket.chmod, 0o666)
    job = f"/releases/{site.job}"
    said = await asyncio.to_thread(_as_account, "nobody", socket, job)
    assert "each by an account of the group" in said
    assert json.loads(await asyncio.to_thread(_as_account, "daemon", socket, job))["result"]["open"]
    assert not json.loads(await asyncio.to_thread(_as_account, "bin", socket, job))["result"]["open"]
    assert (await site.ended()).state is S.succeeded
    serving.cancel()


def _as_account(account: str, socket: Path, path: str) -> str:
    program = (
        "import json, socket, sys\n"
        "body = json.dumps({'decision': 'release', 'reason': 'fine'})\n"
        "channel = socket.socket(socket.AF_UNIX)\n"
        "channel.connect(sys.argv[1])\n"
        "head = f'POST {sys.argv[2]} HTTP/1.1\\r\\nHost: site\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n'\n"
        "channel.sendall((head + body).encode())\n"
        "answer = b''\n"
        "while part := channel.recv(65536): answer += part\n"
        "print(answer.partition(b'\\r\\n\\r\\n')[2].decode())\n"
    )
    command = ["/usr/bin/python3", "-c", program, str(socket), path]
    return subprocess.run(command, user=account, capture_output=True, text=True, check=True).stdout


def test_an_account_that_may_not_use_the_socket_is_told_who_may(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise httpx.ConnectError("Permission denied") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(httpx.Client, "request", connect)
    with pytest.raises(ForbiddenError, match=r"may not use .*the accounts of the reviewers' group"):
        ask(tmp_path / "review.sock", "GET", "/releases")
