"""An artefact from a host to another through the central API: programs of their own, restarts, memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.artefact_ends import main
from tests.support.books import HOSTS
from tests.support.central_api import TOOLS, Federation
from tests.support.issuer import TestIssuer

from fedproc.catalog.folder import load_tool
from fedproc.contract.wire.messages import JobOrder, Start
from fedproc.site.jobs import artefacts
from fedproc.site.jobs.workspace import Workspace

pytestmark = [pytest.mark.server, pytest.mark.process]

MB = 1_000_000


@dataclass
class Way:
    """A server job on EUCAIM that makes a kit for the clients on UB and BSC, and what the hosts have of it."""

    federation: Federation
    folder: Path
    tool: Any = None
    server: Any = None
    order: JobOrder | None = None
    sent: list[dict[str, Any]] = field(default_factory=list)

    def begin(self) -> None:
        federation, books = self.federation, self.federation.books
        changed = self.folder / "train"
        shutil.copytree(TOOLS / "train", changed)
        text = (changed / "tool.yaml").read_text()
        (changed / "tool.yaml").write_text(text.replace("max_mb: 1, artefact_for", "max_mb: 2000, artefact_for"))
        self.tool = load_tool(changed).tool
        with federation.operator() as client, federation.user() as rosa:
            for host in HOSTS:
                enrolment = books.hosts.enrolment(host).model_dump(mode="json")
                assert client.put(f"/hosts/{host}", json=enrolment).status_code == 201
            federation.hear_everyone()
            assert federation.add_tool(changed, client).status_code == 201
            made = rosa.post("/experiments", json={"tool": "train", "hosts": ["UB", "BSC"]}).json()
            for job in made["jobs"]:
                for name in ("weights", "mask") if job["task"] == "client" else ():
                    params = {"input": name, "sha256": hashlib.sha256(b"x").hexdigest()}
                    assert rosa.put(f"/tasks/{job['id']}/input", params=params, content=b"x").status_code < 300
        self.experiment = made["id"]
        self.order = next(o for h, o in books.dispatch() if h == "EUCAIM" and isinstance(o, JobOrder))
        books.bring(self.experiment, "prepared")
        self.server = books.job_on(self.experiment, "EUCAIM")
        books.dispatch()
        books.report(self.server.id, "running")
        self.note("EUCAIM", {"order": self.order.model_dump(mode="json"), "state": "running"})

    def note(self, host: str, record: dict[str, Any]) -> Path:
        """What the host's program is given."""
        place = self.folder / host
        place.mkdir(exist_ok=True)
        (place / "host.pem").touch(mode=0o600)
        (place / "host.pem").write_bytes(self.federation.books.hosts.keys[host].as_pem(private=True))
        token = self.federation.issuer.token(f"host-{host}", fedproc_host=host)
        given = {"api": self.federation.url, "token": token, "record": record}
        (place / "given.json").write_text(
            json.dumps({**given, "tool": self.tool.model_dump(mode="json", exclude_defaults=True)})
        )
        return place

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "EUCAIM" / "jobs", self.server.id)

    def write_kit(self, size: int) -> str:
        output = self.workspace.work / "output"
        output.mkdir(parents=True, exist_ok=True)
        digest, piece = hashlib.sha256(), hashlib.shake_128(b"model").digest(MB)
        with (output / "kit.zip").open("wb") as kit:
            for number in range(0, size, MB):
                part = piece[number // MB % 1000 :][: size - number]
                kit.write(part)
                digest.update(part)
        return digest.hexdigest()

    async def send(self) -> list[dict[str, Any]]:
        """As the host's orchestrator does when the service is ready, in this process."""
        self.sent = (await main("send", self.folder / "EUCAIM"))["sent"]
        return self.sent

    def fetched(self, host: str) -> dict[str, Any]:
        """What the client's host makes of its start message, in this process."""
        return asyncio.run(main("fetch", self.told(host)))

    def told(self, host: str) -> Path:
        books = self.federation.books
        outputs = tuple(self.sent)
        books.report(self.server.id, "running", ready=True, artefacts=outputs)
        starts = {to: message for to, message in books.dispatch() if isinstance(message, Start)}
        job = next(row for row in books.jobs(self.experiment) if row.host == host)
        order = self.order.model_dump(mode="json") | {"job": job.id, "task": "client"}  # type: ignore[union-attr]
        return self.note(host, {"order": order, "start": starts[host].model_dump(mode="json")})


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    (tmp_path / "centre").mkdir()
    with TestIssuer() as issuer:
        with Federation(f"sqlite:///{tmp_path}/central.db", tmp_path / "centre", issuer) as federation:
            made = Way(federation, tmp_path)
            made.begin()
            yield made


def test_an_artefact_comes_as_it_was_made(way: Way) -> None:
    made = way.write_kit(3 * MB)
    asyncio.run(way.send())
    assert {output["recipient"] for output in way.sent} == {"UB", "BSC"}
    assert way.fetched("UB")["came"] == {"artefacts/server/kit/EUCAIM/kit.zip": made}


def test_what_was_sent_before_a_restart_is_not_sent_as_other_bytes(way: Way) -> None:
    """The daemon was lost before it knew that the centre has the file, or before it had written that down."""
    made = way.write_kit(3 * MB)
    first = asyncio.run(way.send())
    way.write_kit(2 * MB)  # the service goes on
    assert asyncio.run(way.send()) == first, "the receipts say so"
    shutil.rmtree(way.workspace.root / "sent" / "BSC")
    way.sent = first
    assert way.fetched("UB")["came"] == {"artefacts/server/kit/EUCAIM/kit.zip": made}


@pytest.fixture
def lost_daemon(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """While this lasts, a daemon is lost when the centre has taken the first file, and before it has noted that."""

    @contextmanager
    def lost() -> Iterator[None]:
        def break_off(*_: object) -> None:
            raise RuntimeError("lost")

        with monkeypatch.context() as patched, pytest.raises(RuntimeError):
            patched.setattr(artefacts.Parcel, "keep", break_off)
            yield

    return lost


def test_what_was_encrypted_before_a_restart_is_sent_as_it_is(
    way: Way, lost_daemon: Callable[[], AbstractContextManager[None]]
) -> None:
    way.write_kit(3 * MB)
    with lost_daemon():
        asyncio.run(way.send())
    (left,) = (way.workspace.root / "encrypted").rglob("*.zip")
    digest = hashlib.sha256(left.read_bytes()).hexdigest()
    asyncio.run(way.send())
    assert digest in {output["sha256"] for output in way.sent}
    assert not list((way.workspace.root / "encrypted").rglob("*.zip")), "what was sent takes no room"
    assert (artefacts.folder_of(way.workspace) / "kit" / "kit.zip").exists()


def test_what_a_service_has_begun_to_send_is_completed_when_it_has_ended(
    way: Way, lost_daemon: Callable[[], AbstractContextManager[None]]
) -> None:
    """Else its end would announce what it has written since, which the centre refuses."""
    made = way.write_kit(3 * MB)
    assert asyncio.run(main("finish", way.folder / "EUCAIM"))["sent"] == [], "nothing was begun"
    with lost_daemon():
        asyncio.run(way.send())
    way.write_kit(2 * MB)
    way.sent = asyncio.run(main("finish", way.folder / "EUCAIM"))["sent"]
    assert {output["recipient"] for output in way.sent} == {"UB", "BSC"}
    assert way.fetched("UB")["came"] == {"artefacts/server/kit/EUCAIM/kit.zip": made}


@pytest.mark.slow
async def test_memory_stays_flat_however_large_it_is(way: Way) -> None:
    made = way.write_kit(200 * MB)
    sent = await run("send", way.folder / "EUCAIM")
    way.sent = sent["sent"]
    came = await run("fetch", await asyncio.to_thread(way.told, "UB"))
    assert came["came"] == {"artefacts/server/kit/EUCAIM/kit.zip": made}
    assert max(sent["MiB"], came["MiB"]) < 110, "most of it is what the programs are without a file"


async def run(act: str, folder: Path) -> dict[str, Any]:
    program = [sys.executable, "-m", "tests.support.artefact_ends", act, str(folder)]
    child = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    assert child.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found
