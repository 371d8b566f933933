"""The review page in a real browser: what it shows, decisions by keyboard, axe, 320 px; and who is kept out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.site.jobs.release.test_review import Site
from tests.support.browser import STANDARDS

from fedproc.cli.site.release_client import ReleaseClient
from fedproc.cli.site.review_page.server import ReviewServer
from fedproc.site.journal import Journal
from fedproc.site.status.control import ControlSocket
from fedproc.site.status.releases import release_routes

pytestmark = [pytest.mark.process, pytest.mark.needs_browser]

SHOTS = os.environ.get("FEDPROC_SCREENSHOTS")
HOSTILE = "<script>document.title='mine'</script>\x1b[2J\u202eabc"


def png(width: int, height: int, *chunks: tuple[bytes, bytes], after: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(
        b"\0" + bytes(((x * 7) % 256, (y * 9) % 256, 90) * 1)[:3] * width for y in range(height) for x in (y,)
    )
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = [chunk(*each) for each in chunks]
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(parts)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
        + after
    )


HEADER = json.dumps({"w": {"dtype": "F32", "shape": [30, 2], "data_offsets": [0, 240]}}).encode()
FILES = {
    "curve/by_age.csv": b"age,persons\n40-49,120\n50-59,<b>210</b>\n",
    "curve/remark.txt": HOSTILE.encode(),
    "curve/curve.png": png(64, 48, (b"tEXt", b"Comment\0patient 12"), after=b"more"),
    "curve/result.json": b'{"n": 12, "n": 13, "mean": 1.250}',
    "weights/weights.safetensors": struct.pack("<Q", len(HEADER)) + HEADER + bytes(240),
    "counts/counts.json": b'{"n": 3}',
}


class Live:
    """A host's orchestrator with its control socket, on a loop of its own thread."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.socket = folder / "site.sock"
        self.site: Site = self.do(self._begin(folder))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    async def _begin(self, folder: Path) -> Site:
        self.journal = Journal(folder / "journal.sqlite")
        await self.journal.open()
        site = Site(folder, self.journal)
        outputs = (
            {"name": "counts", "path": "counts.json", "disclosure": "aggregate", "min_count_fields": ["n"]},
            {"name": "curve", "path": "curve", "folder": True, "disclosure": "aggregate"},
            {"name": "weights", "path": "weights.safetensors", "disclosure": "model"},
        )
        site.host.tools.want(of_task={"outputs": outputs})
        site.host.services.settings.reviewers_group = None  # type: ignore[misc]
        site.record.sealed = {path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()}
        for path, content in FILES.items():
            (site.sealed / path).parent.mkdir(parents=True, exist_ok=True)
            (site.sealed / path).write_bytes(content)
        control = ControlSocket(self.socket, release_routes(site.host.services, site.host.orchestrator))
        self.serving = asyncio.create_task(control.run())
        await site.begin()
        await site.until(self.socket.exists)
        return site

    def close(self) -> None:
        async def end() -> None:
            self.serving.cancel()
            await self.site.host.orchestrator.close()
            await self.journal.close()

        self.do(end())
        self.loop.call_soon_threadsafe(self.loop.stop)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server(live: Live) -> Iterator[ReviewServer]:
    made = ReviewServer(ReleaseClient(live.socket), "UB", 0)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(params=["wide", "narrow"])
def page(request: pytest.FixtureRequest, browser: Any, server: ReviewServer) -> Iterator[Any]:
    wide = request.param == "wide"
    size = {"width": 1280, "height": 900} if wide else {"width": 320, "height": 740}
    context = browser.new_context(viewport=size, color_scheme="light" if wide else "dark")
    context.set_default_timeout(15_000)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.goto(server.link)
    yield opened
    context.close()
    assert complaints == []


def shot(page: Any, name: str) -> None:
    if SHOTS and page.viewport_size["width"] > 400:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def follow(page: Any, link: str) -> None:
    """By keyboard."""
    with page.expect_navigation():
        page.get_by_role("link", name=link, exact=True).press("Enter")


def check(page: Any, name: str) -> None:
    """Accessible by axe, no wider than the window, and without what a tool wrote as mark-up."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": STANDARDS}})
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.title() != "mine"
    assert page.locator("script").count() == 0
    shot(page, name)


def test_what_waits_is_shown_and_decided_by_keyboard_alone(page: Any, live: Live) -> None:
    check(page, "review-list")
    follow(page, live.site.job)
    assert "a rule refuses it" in page.content()
    assert "persons.floor" in page.content()
    check(page, "review")
    for path, seen in {
        "curve/by_age.csv": "<b>210</b>",
        "curve/remark.txt": "\\u202eabc",
        "weights/weights.safetensors": "[30, 2]",
        "curve/result.json": '"n": 13',
    }.items():
        follow(page, path)
        assert seen in page.locator("main").inner_text()
        check(page, "review-" + path.rpartition(".")[2])
        page.go_back()
    follow(page, "curve/curve.png")
    seen_width = "async () => { const one = document.images[0]; await one.decode(); return one.naturalWidth }"
    assert page.evaluate(seen_width) == 64
    assert "patient 12" in page.content()
    assert "4 bytes (more) stand after" in page.content()
    check(page, "review-picture")
    page.go_back()
    for path in ("curve/by_age.csv", "weights/weights.safetensors"):
        page.get_by_role("checkbox", name=f"Decide about {path}").press("Space")
    page.get_by_label("Reason; it stays on this host").fill("counts of many")
    with page.expect_navigation():
        page.get_by_role("button", name="Release").press("Enter")
    assert page.content().count("you released it") == 2
    for path in ("curve/remark.txt", "curve/curve.png", "curve/result.json"):
        page.get_by_role("checkbox", name=f"Decide about {path}").press("Space")
    page.get_by_label("Reason; it stays on this host").fill("not needed")
    with page.expect_navigation():
        page.get_by_role("button", name="Keep here").press("Enter")
    assert "Nothing waits" in page.content()
    decided = page.get_by_role("status").inner_text()
    assert decided == f"Decided: 3 files of job {live.site.job} stay here."
    page.reload()
    assert page.get_by_role("status").count() == 0
    assert live.do(live.site.ended()).code == "release.partly"
    assert sorted(live.site.transfer.sent) == ["curve/by_age.csv", "weights/weights.safetensors"]


def test_who_has_no_link_gets_nothing(server: ReviewServer, live: Live) -> None:
    address, link = f"http://127.0.0.1:{server.server_port}", server.link.removeprefix(server.origin)
    with httpx.Client(base_url=address, headers={"Host": server.name}) as http:
        assert http.get("/").status_code == 403
        assert http.get("/open?token=wrong").status_code == 403
        port = server.server_port
        for other in ("evil.example", f"127.0.0.1:{port}", f"localhost:{port}", f"other.localhost:{port}"):
            assert http.get(link, headers={"Host": other}).status_code == 403
        opened = http.get(link)
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        assert "HttpOnly; SameSite=Strict" in opened.headers["set-cookie"]
        assert "domain" not in opened.headers["set-cookie"].lower()
        http.headers["Cookie"] = opened.headers["set-cookie"].partition(";")[0]
        assert http.get("/").status_code == 200
        assert http.get(link).status_code == 403, "a link is good once"
        policy = http.get("/").headers["content-security-policy"]
        assert "script" not in policy
        assert policy.startswith("default-src 'none'")
        form = {"decision": "release", "reason": "x", "file": "0" * 64 + " curve/by_age.csv"}
        job = f"/job/{live.site.job}"
        assert http.post(job, data=form).status_code == 403, "without the token of the form"
        form["form_token"] = server.form_token
        for origin in ("http://evil.example", address, server.origin.replace("http:", "https:"), "null"):
            assert http.post(job, data=form, headers={"Origin": origin}).status_code == 403
        assert http.post(job, data=form, headers={"Origin": server.origin}).status_code == 409, (
            "other bytes than were looked at"
        )
        without = http.post(job, data={**form, "reason": "counts of many", "file": []})
        assert (without.status_code, "Nothing was decided: tick the files" in without.text) == (409, True)
        assert "counts of many</textarea>" in without.text
        assert http.get(f"{job}/bytes?path=curve/remark.txt").status_code == 403, "only pictures go as they are"
        assert http.get(f"{job}/file?path=../../../journal.sqlite").status_code == 404
    assert live.site.live.decision is None


def test_another_server_of_the_loopback_interface_gets_no_session(page: Any, server: ReviewServer) -> None:
    seen: list[str | None] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Cookie"))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        for name in ("127.0.0.1", "localhost", "other.localhost"):
            opened = page.context.new_page()
            opened.goto(f"http://{name}:{other.server_port}/")
            opened.close()
        other.shutdown()
    assert len(seen) >= 3
    assert set(seen) == {None}
    assert page.context.cookies(server.origin)


def test_the_command_prints_one_link_and_ends_when_it_is_not_used(live: Live) -> None:
    command = [sys.executable, "-m", "fedproc.cli", "site", "review", "--socket", str(live.socket), "--minutes", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("1 job waits; open this link in a browser, once, within 10 minutes")
        link = httpx.URL(program.stdout.readline().strip())
        assert link.host.endswith(".localhost")
        name = {"Host": f"{link.host}:{link.port}"}
        assert httpx.get(link.copy_with(host="127.0.0.1"), headers=name).status_code == 303
        assert program.wait(60) == 0
