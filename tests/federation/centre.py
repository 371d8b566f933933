"""The running federation's centre, from the outside: who calls its API, and how experiments are followed."""

from __future__ import annotations

from typing import Any

from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView
from fedproc.contract.states import ENDED
from fedproc.demo.containers import FOLDER
from fedproc.demo.federation import read_env
from fedproc.demo.polling import wait_until


class Centre:
    """Its API as a researcher and an operator use it."""

    def __init__(self) -> None:
        self.env = read_env(FOLDER)
        self.url, self.ca = self.env["FEDPROC_URL"], self.env["FEDPROC_CA"]
        self.connect()

    def connect(self) -> None:
        """Sign in, trusting the authority that the file names now."""
        self.researcher, self.operator = self._client("FEDPROC_"), self._client("FEDPROC_OPERATOR_")

    def _client(self, prefix: str) -> Client:
        name, word = self.env[prefix + "USERNAME"], self.env[prefix + "PASSWORD"]
        return Client(self.url, username=name, password=word, ca_file=self.ca)

    def close(self) -> None:
        self.researcher.close()
        self.operator.close()

    def run(
        self, tool: str, hosts: list[str] | None = None, datasets: list[str] | None = None, **parameters: Any
    ) -> str:
        request = ExperimentRequest(tool=tool, hosts=hosts or [], datasets=datasets or [], parameters=parameters)
        return self.researcher.run(request).id

    def wait_until_ended(self, experiment: str, seconds: float = 600) -> ExperimentView:
        wait_until(lambda: self.view(experiment).state in ENDED, seconds, f"{experiment} does not end", pause=1)
        return self.view(experiment)

    def succeeds(self, experiment: str, seconds: float = 600) -> ExperimentView:
        view = self.wait_until_ended(experiment, seconds)
        assert view.state == "succeeded", [f"{job.task}@{job.host}: {job.state} {job.reason}" for job in view.jobs]
        return view

    def wait_for(self, experiment: str, host: str, state: str, seconds: float = 300) -> None:
        def reached() -> bool:
            return any(job.host == host and job.state == state for job in self.view(experiment).jobs)

        wait_until(reached, seconds, f"no job of {experiment} at {host} is {state}", pause=0.5)

    def view(self, experiment: str) -> ExperimentView:
        return self.researcher.experiment(experiment)

    def healthy(self) -> bool:
        """Whether it answers, and all that it needs is well."""
        try:
            return self.operator.health().status == "ok"
        except (FedprocError, ValueError):
            return False

    def accepting(self, host: str) -> bool:
        found = self.operator.host(host)
        return found.alive and found.condition == "accepting"

    def wait_until_accepting(self, *hosts: str, seconds: float = 300) -> None:
        wait_until(lambda: all(map(self.accepting, hosts)), seconds, f"not all of {hosts} take jobs", pause=1)
