"""The demo's federation with the benchmark's tool, and the jobs that are sent through it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from fedproc.client.api import Client
from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.common.http import client_assertion
from fedproc.common.keys import load_key
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.states import TERMINAL
from fedproc.demo.federation import Federation, Say, read_env
from fedproc.demo.polling import wait_until

ROOT = Path(__file__).parents[1]
TOOLS = Path(__file__).parent / "tools"
HOST = "UB"
CPUS = 4
"""what the demo's hosts have for jobs; a no-op job takes one, so that many run at once"""
_SUBMITTERS = 4
_PATIENCE = 300
_LOOK = 0.2
"""seconds between two looks at a burst: one costs the API as much as a job does"""


class Running:
    """A federation that runs. All jobs go to one host."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.folder = federation.folder
        self.researcher = federation.client("researcher")
        self.operator = federation.client("operator")
        self._more = [federation.client("researcher") for _ in range(_SUBMITTERS)]
        for client in (self.researcher, *self._more):
            client.sign_in()

    def pid(self, program: str) -> int:
        return int((self.folder / "run" / f"{program}.pid").read_text())

    def client_at(self, url: str) -> Client:
        """The researcher's client of another API of this federation."""
        env = read_env(self.folder)
        return Client(url, username=env["FEDPROC_USERNAME"], password=env["FEDPROC_PASSWORD"])

    def relay_token(self) -> str:
        """A token with which the relay's place at the broker can be taken."""
        issuer = read_env(self.folder)["FEDPROC_ISSUER"] + "/token"
        key = load_key((self.folder / "keys" / "relay.key").read_bytes())
        form = {"grant_type": "client_credentials", **client_assertion("fedproc-relay", issuer, key)}
        return str(httpx.post(issuer, data=form).raise_for_status().json()["access_token"])

    def job(self) -> str:
        """A no-op job from its submission until its ``succeeded`` is seen on the event stream; its experiment."""
        experiment = self.researcher.run(_no_op())
        for event in self.researcher.events(experiment.id):
            if event.job is None and event.state in TERMINAL:
                if event.state != "succeeded":
                    raise FedprocError(f"a no-op job ended as {event.state}; see {self.folder}/log")
                return experiment.id
        raise FedprocError(f"the event stream of {experiment.id} ended before the experiment did")

    def burst(self, count: int) -> None:
        """So many no-op jobs, submitted at once by a few users; returns when the last one has succeeded."""
        label = f"burst {uuid.uuid4().hex}"

        def submit(client: Client, share: int) -> None:
            for _ in range(share):
                client.run(_no_op(label))

        shares = [count // _SUBMITTERS + (index < count % _SUBMITTERS) for index in range(_SUBMITTERS)]
        with ThreadPoolExecutor(_SUBMITTERS) as pool:
            list(pool.map(submit, self._more, shares))

        until = time.monotonic() + _PATIENCE
        while self.researcher.experiments(label=label, state=["queued", "running"], limit=1).items:
            if time.monotonic() > until:
                raise FedprocError(f"{count} no-op jobs do not end; see {self.folder}/log")
            time.sleep(_LOOK)
        bad = self.researcher.experiments(label=label, state=sorted(TERMINAL - {"succeeded"}), limit=1).items
        if bad:
            raise FedprocError(f"a no-op job of a burst did not succeed: {bad[0]}")


def _no_op(label: str | None = None) -> ExperimentRequest:
    return ExperimentRequest(tool="noop", hosts=[HOST], label=label)


@contextmanager
def federation(folder: Path, cache: Path, say: Say, executor: str = "sandbox") -> Iterator[Running]:
    """A federation in ``folder`` for as long as the context lasts."""
    made = Federation(folder, cache, [TOOLS], executor)
    try:
        made.up(say)
        _lift_quota(made)
        yield Running(made)
    except BaseException:
        made.keep_logs()
        raise
    finally:
        made.down()


def _lift_quota(made: Federation) -> None:
    """A burst is more than what one researcher may have open at once."""
    settings = made.folder / "central.toml"
    settings.write_text(
        settings.read_text() + "\n[quota]\nopen_experiments = 1000000\nrequests_per_minute = 10000000\n"
    )
    made.supervisor.stop_program("api")
    made.supervisor.start_programs(["api"])
    with closing(made.client("researcher")) as client:
        wait_until(lambda: _answers(client), 60, "the API does not come back")


def _answers(client: Client) -> bool:
    try:
        client.sign_in()
    except UnavailableError:
        return False
    return True
