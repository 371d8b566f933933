"""A hospital whose only way out is an HTTP proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.federation.centre import Centre
from tests.federation.machines import Machine, docker, played

GATEWAY, PROXY = "172.30.77.10", "172.30.77.90"
PROGRAM = Path(__file__).parent / "connect_proxy.py"


@pytest.fixture
def proxy() -> Iterator[Machine]:
    """A machine of its own that passes CONNECT on to the gateway, with a password, and keeps what it was asked for."""
    machine = Machine("proxy")
    docker(
        "run", "--detach", "--name", machine.container, "--network", "fedproc", "--ip", PROXY,
        Machine("centre").image, "python3", "-c", PROGRAM.read_text(), GATEWAY, "site:word",
    )  # fmt: skip
    yield machine
    docker("rm", "--force", "--volumes", machine.container)


@pytest.fixture
def behind(ub: Machine, proxy: Machine) -> Iterator[Machine]:
    """UB reaches the proxy and nothing else."""
    rules = f"""table inet hospital_out {{ chain output {{ type filter hook output priority filter; policy drop;
        oif lo accept; ct state established,related accept; ip daddr {PROXY} tcp dport 3128 accept; }}; }}"""
    options = ("--limit", "UB", "--tags", "install")
    played("onboard_host.yml", *options, "-e", json.dumps({"orchestrator_proxy": f"http://site:word@{PROXY}:3128"}))
    ub.run("nft", "-f", "-", given=rules)
    ub.run("systemctl", "restart", "fedproc-orchestrator")
    yield ub
    ub.run("nft", "delete", "table", "inet", "hospital_out")
    played("onboard_host.yml", *options)


def test_experiments_run_through_the_proxy(centre: Centre, behind: Machine, proxy: Machine) -> None:
    centre.wait_until_accepting("UB")
    data = [f"{host}:wisconsin" for host in ("UB", "BSC")]
    experiment = centre.run("flower-logistic", datasets=data, rounds=3)
    centre.succeeds(experiment)
    server = next(job.id for job in centre.view(experiment).jobs if job.host == "EUCAIM")
    asked = set(docker("logs", proxy.container).split())
    domain = centre.env["FEDPROC_DOMAIN"]
    assert {f"{name}.{domain}:443" for name in ("api", "auth", "broker")} <= asked
    assert any(target.startswith("api.") for target in asked), "server tasks are dialled at the gateway"
    assert server
    assert "word" not in behind.log()
    assert "word" not in behind.run("ps", "-eo", "args")
