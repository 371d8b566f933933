"""The centre dies and comes back; a site cannot reach it, and is its own master all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.federation.centre import Centre
from tests.federation.machines import Machine, docker

from fedproc.common.errors import FedprocError
from fedproc.contract.states import ENDED
from fedproc.demo.polling import wait_until

DATA = ["UB:wisconsin", "BSC:wisconsin", "FORTH:wisconsin"]


def test_a_killed_centre_comes_back_with_nothing_lost(centre: Centre, machine: Machine) -> None:
    flower = centre.run("flower-logistic", datasets=DATA, rounds=500)
    sleeper = centre.run("host-acceptance", hosts=["UB", "CESGA"], seconds=60)
    queued = [centre.run("host-acceptance", hosts=["BSC"]) for _ in range(10)]
    centre.wait_for(sleeper, "UB", "running", 240)
    docker("kill", "--signal", "KILL", machine.container)
    docker("start", machine.container)
    wait_until(centre.healthy, 300, "the centre does not come back", pause=2)
    for experiment in (sleeper, *queued):
        wait_until(lambda experiment=experiment: ended(centre, experiment), 300, f"{experiment} hangs", pause=1)
        assert centre.view(experiment).state == "succeeded", experiment
    # Its connections led through the gateway, which died: it ends by the tool's own rule, once, and hangs nowhere.
    wait_until(lambda: ended(centre, flower), 300, f"{flower} hangs", pause=1)
    centre.wait_until_accepting("UB", "BSC", "FORTH", "EUCAIM", "CESGA")
    for name in ("UB", "BSC", "FORTH", "EUCAIM", "CESGA"):
        assert json.loads(Machine(name).site("status", "--json"))["jobs"] == []


def ended(centre: Centre, experiment: str) -> bool:
    try:
        return centre.view(experiment).state in ENDED
    except FedprocError:
        return False


@contextmanager
def unreachable(host: Machine) -> Iterator[None]:
    """The host's packets to the gateway go nowhere."""
    rules = "table inet cut { chain output { type filter hook output priority -10; ip daddr 172.30.77.10 drop; }; }"
    host.run("nft", "-f", "-", given=rules)
    try:
        yield
    finally:
        host.run("nft", "delete", "table", "inet", "cut")


def test_a_sites_own_switch_works_without_the_centre(centre: Centre, ub: Machine) -> None:
    experiment = centre.run("host-acceptance", hosts=["UB"], seconds=600)
    centre.wait_for(experiment, "UB", "running", 300)
    with unreachable(ub):
        ub.site("stop")
        wait_until(lambda: json.loads(ub.site("status", "--json"))["jobs"] == [] or only_telling(ub), 60, "it goes on")
        assert ub.run("docker", "ps", "--quiet").strip() == ""
        assert json.loads(ub.site("status", "--json"))["stopped"] is True
    view = centre.wait_until_ended(experiment)
    job = view.jobs[0]
    assert (job.state, job.code) == ("cancelled", "site.stopped"), job
    ub.site("start")
    centre.wait_until_accepting("UB")
    centre.succeeds(centre.run("host-acceptance", hosts=["UB"]))


def only_telling(host: Machine) -> bool:
    """Nothing runs any more; the journal's outbox waits for the centre."""
    return all(job["state"] in {"cancelled"} for job in json.loads(host.site("status", "--json"))["jobs"])
