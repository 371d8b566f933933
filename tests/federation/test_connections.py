"""Connections between tasks lead through the gateway, and only their peers take them."""

from __future__ import annotations

from tests.federation.centre import Centre
from tests.federation.machines import Machine

OPEN = {"BSC": {"0.0.0.0:8042"}, "CESGA": {"172.30.77.21:6817", "172.30.77.21:6818"}}
"""what is not ours: a PACS, and Slurm's controller and node"""
_DIAL = """import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
except OSError as error:
    print(type(error).__name__)"""
DATA = ["UB:wisconsin", "BSC:wisconsin", "FORTH:wisconsin"]


def test_a_host_that_is_no_peer_is_not_let_in(centre: Centre) -> None:
    experiment = centre.run("flower-logistic", datasets=DATA, rounds=1000)
    centre.wait_for(experiment, "UB", "running", 240)
    server = next(job for job in centre.view(experiment).jobs if job.host == "EUCAIM")
    name = f"8080-{server.id}.eucaim.jobs.{centre.env['FEDPROC_DOMAIN']}"
    stranger, peer = Machine("CESGA"), Machine("UB")
    assert stranger.probe("dial", name=name) == {"certificate": "EUCAIM", "answered": False}
    assert stranger.probe("dial", name=name, anonymous=True)["answered"] is False
    assert peer.probe("dial", name=name) == {"certificate": "EUCAIM", "answered": True}
    assert "connection.refused" in Machine("EUCAIM").log()
    centre.researcher.cancel(experiment)
    assert centre.wait_until_ended(experiment).state == "cancelled"
    assert peer.probe("dial", name=name)["answered"] is False, "the job has ended"


def test_nothing_comes_in_at_a_site(centre: Centre) -> None:
    """What runs at a site listens on loopback alone, but for the aggregator's one port.

    What is not ours does otherwise, BSC's PACS and CESGA's cluster, and the firewall of create.yml lets nobody but the
    cluster's own machines come to it.
    """
    for name in ("UB", "BSC", "FORTH", "CESGA"):
        listening = Machine(name).run("ss", "-tlnH").splitlines()
        open_to_all = {line.split()[3] for line in listening if "127.0.0." not in line and "[::1]" not in line}
        assert open_to_all <= OPEN.get(name, set())
    for name, addresses in OPEN.items():
        for address in addresses:
            _, _, port = address.rpartition(":")
            dialled = Machine("UB").try_run("/opt/fedproc/current/bin/python", "-c", _DIAL, name.lower(), port)
            assert dialled.stdout.strip() == "TimeoutError", (address, dialled)


def test_the_gateway_shows_neither_administration_nor_figures(centre: Centre, machine: Machine) -> None:
    listening = machine.run("ss", "-tlnH").splitlines()
    open_to_all = {
        line.split()[3].rpartition(":")[2] for line in listening if "127.0.0." not in line and "[::1]" not in line
    }
    assert open_to_all == {"443"}
