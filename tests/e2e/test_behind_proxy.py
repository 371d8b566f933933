"""A host whose only way out is an HTTP proxy runs its part of an experiment like any other."""

from __future__ import annotations

import tomllib
from contextlib import contextmanager

import pytest
import tomli_w
from tests.support.proxying import ConnectProxy

from fedproc.demo.polling import free_ports, wait_until

pytestmark = pytest.mark.needs_federation


@contextmanager
def settings_of(running, host, **centre):
    """A host's orchestrator started again with other settings of the centre; afterwards as it was."""
    path = running.folder / f"host-{host}.toml"
    before = path.read_bytes()
    settings = tomllib.loads(before.decode())
    settings["centre"] |= centre
    try:
        path.write_text(tomli_w.dumps(settings))
        running.kill(f"orchestrator-{host}")
        yield
    finally:
        path.write_bytes(before)
        running.kill(f"orchestrator-{host}")


def test_flower_through_a_proxy(running):
    settings = tomllib.loads((running.folder / "host-UB.toml").read_text())
    (nowhere,) = free_ports(1)
    leads = {f"localhost:{nowhere}": settings["centre"]["broker_port"]}
    with ConnectProxy(leads).running() as proxy, settings_of(running, "UB", proxy=proxy.url, broker_port=nowhere):
        wait_until(lambda: running.accepting("UB"), 120, "UB does not come back through its proxy")
        experiment = running.start("flower-logistic", datasets=["UB:wisconsin", "BSC:wisconsin"], rounds=2)
        assert running.end(experiment)[-1].state == "succeeded"
        aggregator = {target for target in proxy.asked if target.startswith("127.0.0.1:")}
        assert f"localhost:{nowhere}" in proxy.asked
        assert aggregator, "the connection between the tasks went round the proxy"
        assert any(b"eucaim.jobs." in hello for hello in proxy.names)
