"""A host is revoked in the middle of a Flower run: its stream is cut by the aggregator, and every job ends once."""

from __future__ import annotations

import json
import os
import signal
import time
import tomllib

import psutil
import pytest

from fedproc.contract.api.hosts import HostEnrolment
from fedproc.contract.states import TERMINAL
from fedproc.demo.configuration import DOMAIN
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.needs_federation


def lines(running, program, since):
    log = (running.folder / "log" / f"{program}.log").read_text()
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in found if line["time"] >= since]


def test_a_revoked_host_is_out_at_once(running):
    experiment = running.start("flower-logistic", datasets=["UB:wisconsin", "BSC:wisconsin"], rounds=500)
    running.wait_for(experiment, "client@BSC", "running", 90)
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    wait_until(lambda: _streams(running) == 2, 60, "the two hosts are not connected with the aggregator")
    frozen = running.pid("orchestrator-BSC")
    os.kill(frozen, signal.SIGSTOP)  # it cannot obey: what happens must come from the others
    began = time.monotonic()
    try:
        revoked = running.operator.revoke("BSC", "a test")
        assert revoked.active is False
        wait_until(lambda: _cut(running, since), 20, "the aggregator did not cut the connection")
        assert time.monotonic() - began < 20
        events = running.end(experiment)
    finally:
        os.kill(frozen, signal.SIGCONT)
        known = {"roles": ["data"], "site": "BSC", "location": "Barcelona", "domain": DOMAIN}
        running.operator.enrol("BSC", HostEnrolment(**known, public_key=_key(running)))
    assert time.monotonic() - began < 60
    assert events[-1].state == "lost"
    jobs = running.jobs(experiment)
    assert (jobs["client@BSC"].state, jobs["client@BSC"].code) == ("lost", "host_revoked")
    assert {jobs[name].code for name in ("client@UB", "server@EUCAIM")} == {"peer_failed"}
    assert "BSC was revoked" in jobs["client@UB"].reason
    ends = [event.job for event in events if event.job and event.state in TERMINAL]
    assert sorted(ends) == sorted(job.id for job in jobs.values())
    wait_until(lambda: running.accepting("BSC"), 120, "BSC does not come back after it was let in again")
    wait_until(lambda: not running.leftovers("BSC"), 60, "BSC did not end its job when it heard of it")
    later = [event.job for event in running.end(experiment) if event.job and event.state in TERMINAL]
    assert sorted(later) == sorted(ends), "a job ended a second time"
    assert running.researcher.experiment(experiment.id).state == "lost"
    again = running.start("flower-logistic", datasets=["UB:wisconsin", "BSC:wisconsin"], rounds=2)
    assert running.end(again)[-1].state == "succeeded"


def _streams(running):
    """Connections that the aggregator's orchestrator has taken for its server task."""
    port = tomllib.loads((running.folder / "host-EUCAIM.toml").read_text())["connections"]["listen_port"]
    found = psutil.Process(running.pid("orchestrator-EUCAIM")).net_connections()
    return len([c for c in found if c.laddr.port == port and c.status == psutil.CONN_ESTABLISHED])


def _cut(running, since):
    return [line for line in lines(running, "orchestrator-EUCAIM", since) if line["message"] == "connection.revoked"]


def _key(running):
    from fedproc.common.keys import load_key, public_jwk

    return public_jwk(load_key((running.folder / "keys" / "BSC.pub").read_bytes()))
