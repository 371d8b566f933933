"""A site behind an HTTP proxy: API, issuer, broker and connections all go through it, or say what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.support.amqp import connect
from tests.support.proxying import ConnectProxy

from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.common.tls import client_context
from fedproc.contract.wire import routing
from fedproc.demo.polling import free_ports
from fedproc.site.centre.broker import Broker
from fedproc.site.centre.egress import ProxyConnector, with_cure
from fedproc.site.centre.identity import Identity
from fedproc.site.centre.signals import Switch
from fedproc.site.connections.hub import Connections, Meter, Route
from fedproc.site.settings import CentreSettings, ConnectionSettings, SiteSettings

USER = "ward:geheim"
TIMEOUT = httpx.Timeout(10)


@pytest.fixture
def nobody() -> int:
    """A port where nothing listens: what is meant by it, only the proxy knows."""
    return free_ports(1)[0]


@pytest.fixture
def web(keys: Any) -> Iterator[int]:
    """An HTTPS server for localhost."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    pair = keys.server("broker")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.private)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # Each connection's own thread shakes hands: one that says nothing would hold up the thread that takes them in.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def site(keys: Any, folder: Path, port: int, issuer: str = "https://id.invalid", **centre: Any) -> SiteSettings:
    return SiteSettings.model_validate(
        {
            "host": "UB", "state": folder, "key": keys.key("UB").private, "policy": folder / "policy.toml",
            "centre": {
                "api_url": f"https://localhost:{port}", "issuer_url": issuer, "broker_host": "localhost",
                "broker_port": port, "ca_file": keys.ca_file, "dispatch_keys": [folder / "d.pem"],
                "catalogue_keys": [folder / "c.pem"], **centre,
            },
        }
    )  # fmt: skip


def secret(folder: Path, url: str, mode: int = 0o600) -> Path:
    path = folder / "proxy"
    path.write_text(url + "\n")
    path.chmod(mode)
    return path


# -- API and issuer


@pytest.mark.slow
async def test_requests_go_through_the_proxy(keys: Any, web: int, nobody: int, tmp_path: Path) -> None:
    context = client_context(keys.ca_file)
    with ConnectProxy({f"localhost:{nobody}": web}, user=USER).running() as proxy:
        file = secret(tmp_path, proxy.url_of(USER))
        egress = ProxyConnector.from_settings(site(keys, tmp_path, nobody, proxy_file=file).centre)
        async with egress.http_client(context, TIMEOUT) as http:
            assert (await http.get(f"https://localhost:{nobody}/")).text == "hello"
            async with http.stream("GET", f"https://localhost:{nobody}/") as answer:
                assert await answer.aread() == b"hello"
        assert set(proxy.asked) == {f"localhost:{nobody}"}
        with egress.sync_http_client(f"https://localhost:{nobody}", context, 10) as http_now:
            assert http_now.get("/").text == "hello"


async def test_the_environment_counts_where_nothing_is_stated(
    keys: Any, web: int, nobody: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConnectProxy({f"localhost:{nobody}": web}).running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "elsewhere.test")
        monkeypatch.setenv("no_proxy", "elsewhere.test")
        context = client_context(keys.ca_file)
        async with ProxyConnector().http_client(context, TIMEOUT) as http:
            assert (await http.get(f"https://localhost:{nobody}/")).text == "hello"
        _, writer = await ProxyConnector().open_connection("localhost", nobody, context)
        writer.close()
        assert proxy.asked == [f"localhost:{nobody}"] * 2
        monkeypatch.setenv("no_proxy", "localhost")
        assert ProxyConnector().proxy_for("localhost") is None
        assert ProxyConnector("http://p:1").proxy_for("localhost") is not None


WRONG = {
    "no user": ({"user": USER}, "none were given", "centre.proxy_file"),
    "forbidden": ({"forbids": True}, "403", "allow CONNECT"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_a_proxy_says_is_told(
    keys: Any, nobody: int, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    options, expected, cure = WRONG[what]
    context = client_context(keys.ca_file)
    with ConnectProxy(**options).running() as proxy:
        egress = ProxyConnector(proxy.url)
        async with egress.http_client(context, TIMEOUT) as http:
            identity = Identity(site(keys, tmp_path, nobody, f"https://localhost:{nobody}"), http)
            with pytest.raises(UnavailableError) as by_web:
                await identity.token()
        with pytest.raises(UnavailableError) as by_tunnel:
            await egress.open_connection("localhost", nobody, context)
        assert expected in by_tunnel.value.message
        for error in (by_web.value, by_tunnel.value):
            assert cure in error.message
            assert f"127.0.0.1:{proxy.port}" in error.message


async def test_a_wrong_password_is_told_and_shown_nowhere(
    keys: Any, nobody: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    context = client_context(keys.ca_file)
    with ConnectProxy(user="someone:else").running() as proxy:
        egress = ProxyConnector.from_settings(
            site(keys, tmp_path, nobody, proxy_file=secret(tmp_path, proxy.url_of(USER))).centre
        )
        with pytest.raises(UnavailableError, match="are not accepted") as by_tunnel:
            await egress.open_connection("localhost", nobody, context)
        async with egress.http_client(context, TIMEOUT) as http:
            with pytest.raises(httpx.ProxyError, match="407") as by_web:
                await http.get(f"https://localhost:{nobody}/")
    for text in (
        str(by_tunnel.value),
        str(by_web.value),
        repr(by_web.value),
        caplog.text,
        str(egress.__dict__["_threads"]),
    ):
        assert "geheim" not in text


async def test_a_proxy_that_is_not_there(keys: Any, nobody: int, web: int) -> None:
    context = client_context(keys.ca_file)
    egress = ProxyConnector(f"http://127.0.0.1:{nobody}")
    with pytest.raises(UnavailableError, match=r"refuses the connection; correct the proxy's address"):
        await egress.open_connection("localhost", web, context)
    async with egress.http_client(context, TIMEOUT) as http:
        with pytest.raises(httpx.ConnectError, match=r"no way through the proxy .*correct the proxy's address"):
            await http.get(f"https://localhost:{web}/")


def test_proxies_that_cannot_be_meant(tmp_path: Path) -> None:
    def centre(**values: Any) -> CentreSettings:
        whole = {"api_url": "https://a", "issuer_url": "https://b", "broker_host": "c", **values}
        return CentreSettings.model_validate(whole | {"dispatch_keys": ["d"], "catalogue_keys": ["e"]})

    for values, expected in (
        ({"proxy": f"http://{USER}@proxy:3128"}, "proxy_file"),
        ({"proxy": "https://proxy:3128"}, "not of the form"),
        ({"proxy": "proxy"}, "not of the form"),
        ({"proxy_file": tmp_path / "none"}, "cannot be read"),
        ({"proxy_file": secret(tmp_path, f"http://{USER}@p:1", 0o640)}, "chmod 600"),
        ({"proxy": "http://p:1", "proxy_file": tmp_path / "proxy"}, "not both"),
    ):
        with pytest.raises(InvalidInputError, match=expected) as error:
            ProxyConnector.from_settings(centre(**values))
        assert "geheim" not in error.value.message


def test_what_a_program_is_given() -> None:
    assert ProxyConnector().environment() == {}
    assert ProxyConnector(f"http://{USER}@p:1").environment()["HTTPS_PROXY"] == f"http://{USER}@p:1"


# -- the broker


class Keeper:
    """Takes what comes from the queues."""

    def __init__(self) -> None:
        self.jobs: asyncio.Queue[bytes] = asyncio.Queue()

    async def job(self, message: Any) -> None:
        message.ack()
        self.jobs.put_nowait(message.body)

    async def control(self, message: Any) -> None:
        message.ack()


@contextmanager
def reached(keys: Any, issuer: Any, folder: Path, port: int, proxy: str) -> Iterator[tuple[Broker, Keeper]]:
    settings = site(keys, folder, port, issuer.url, proxy=proxy)
    keeper = Keeper()

    class Tokens:
        client_id = "host-UB"

        async def token(self) -> str:
            return await asyncio.to_thread(issuer.host_token, "UB")

        def seconds_left(self) -> float:
            return 600

    egress = ProxyConnector.from_settings(settings.centre)
    yield Broker(settings, cast(Identity, Tokens()), keeper, egress, Switch(on=True)), keeper


@pytest.fixture
async def queues(broker: Any, issuer: Any) -> Any:
    token = issuer.machine_token("fedproc-relay", "relay")
    async with await connect(broker.port, token, broker.ca_file) as session:
        channel = await session.publishing_channel()
        await channel.declare_exchange(routing.EVENTS, "topic")
        for name in (routing.jobs_queue("UB"), routing.control_queue("UB")):
            await channel.declare_queue(name, {"x-queue-type": "quorum"})
        yield channel


async def test_the_broker_is_reached_through_the_proxy(
    keys: Any, issuer: Any, broker: Any, queues: Any, nobody: int, tmp_path: Path
) -> None:
    with ConnectProxy({f"localhost:{nobody}": broker.port}).running() as proxy:
        with reached(keys, issuer, tmp_path, nobody, proxy.url) as (ours, keeper):
            running = asyncio.create_task(ours.run())
            await asyncio.wait_for(ours.connected.wait(), 60)
            await queues.publish("", routing.jobs_queue("UB"), b"a job")
            assert await asyncio.wait_for(keeper.jobs.get(), 30) == b"a job"
            await ours.publish("heartbeat", b"alive")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert set(proxy.asked) == {f"localhost:{nobody}"}
    assert b"localhost" in proxy.names[0]


async def test_without_its_proxy_the_broker_is_unavailable_and_says_why(
    keys: Any, issuer: Any, nobody: int, tmp_path: Path
) -> None:
    with reached(keys, issuer, tmp_path, nobody, f"http://127.0.0.1:{nobody}") as (ours, _):
        running = asyncio.create_task(ours.run())
        async with asyncio.timeout(60):
            while "proxy" not in ours.error:
                await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert "correct the proxy's address" in ours.error


# -- connections between tasks


@pytest.mark.slow
async def test_connections_between_tasks_go_through_the_proxy(keys: Any, nobody: int, tmp_path: Path) -> None:
    job, name = "j-" + "0" * 26, "7000-j-" + "0" * 26 + ".eucaim.jobs.fedproc.internal"
    (port,) = free_ports(1)
    served, at = tmp_path / "served", tmp_path / "out"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readexactly(5))[::-1])
        await writer.drain()

    task = await asyncio.start_unix_server(answer, served)
    server = Connections(ends(keys, "EUCAIM", port), keys.host("EUCAIM").private, ProxyConnector())
    await server.listen()
    server.admit(job, {7000: served}, [Meter("client", "UB", 1000)], lambda: None)
    with ConnectProxy({f"gateway.centre.test:{nobody}": port}).running() as proxy:
        client = Connections(ends(keys, "UB"), keys.host("UB").private, ProxyConnector(proxy.url))
        route = Route("EUCAIM", f"gateway.centre.test:{nobody}", name)
        await client.forward("j-" + "1" * 26, at, route, Meter("server", "EUCAIM", 1000), lambda: None)
        reader, writer = await asyncio.open_unix_connection(at)
        writer.write(b"abcde")
        assert await asyncio.wait_for(reader.readexactly(5), 30) == b"edcba"
        writer.close()
        assert proxy.asked == [f"gateway.centre.test:{nobody}"]
        assert name.encode() in proxy.names[0]
        await client.close()
    await server.close()
    task.close()


def ends(keys: Any, host: str, port: int | None = None) -> ConnectionSettings:
    return ConnectionSettings(certificate=keys.host(host).certificate, ca_file=keys.ca_file, listen_port=port)


async def test_tunnelled_connections_are_kept_alive(keys: Any, web: int, nobody: int) -> None:
    with ConnectProxy({f"localhost:{nobody}": web}).running() as proxy:
        _, writer = await ProxyConnector(proxy.url).open_connection("localhost", nobody, client_context(keys.ca_file))
        channel = writer.get_extra_info("socket")
        assert channel.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 30
        writer.close()


# -- the host check


def test_the_host_check_uses_the_same_proxy(keys: Any, web: int, broker: Any, nobody: int, tmp_path: Path) -> None:
    (other,) = free_ports(1)
    leads = {f"localhost:{nobody}": web, f"localhost:{other}": broker.port}
    with ConnectProxy(leads, user=USER).running() as proxy:
        settings = tmp_path / "host.toml"
        settings.write_text(
            f'host = "UB"\nstate = "{tmp_path}"\n[centre]\napi_url = "https://localhost:{nobody}"\n'
            f'broker_host = "localhost"\nbroker_port = {other}\nca_file = "{keys.ca_file}"\n'
            f'proxy_file = "{secret(tmp_path, proxy.url_of(USER))}"\n'
        )
        command = [sys.executable, "-m", "fedproc.onboarding", "check", "--json", "--only", "network"]
        done = subprocess.run(
            [*command, "--profile", "fedproc", "--settings", str(settings)],
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
    lines = {line["id"]: line for line in json.loads(done.stdout)["lines"]}
    for name in ("network.api", "network.broker"):
        assert f"through the proxy 127.0.0.1:{proxy.port}" in lines[name]["measured"], lines[name]
        assert lines[name]["fault"] is None
    assert sorted(set(proxy.asked)) == sorted(leads)
    assert "geheim" not in done.stdout + done.stderr


def test_faults_have_the_host_checks_cures() -> None:
    assert with_cure("proxy-auth", "it says no", "h", 1).startswith("it says no; put a user and password")
    assert with_cure("unknown", "it says no", "h", 1) == "it says no"
