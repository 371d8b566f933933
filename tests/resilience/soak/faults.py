"""What people do at random while jobs flow: they stop sites, change policies, refuse releases, and give hosts up."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self, TypeVar

import httpx
from tests.resilience.soak.flow import Flow
from tests.resilience.soak.gone import power_off
from tests.support.running import Running

from fedproc.common.errors import FedprocError
from fedproc.demo.configuration import HOSTS

T = TypeVar("T")
_PATIENCE = 120.0
"""seconds in which a program that was killed answers again"""
_REFUSED = 0.3
"""of what waits for a release"""
_AWAY = (2.0, 15.0)
"""seconds for which a fault lasts"""
_GONE_AT = (0.3, 0.6)
"""of the jobs have ended when the first host goes for good, and the second"""
_FAULTS = (FedprocError, httpx.HTTPError, AssertionError, OSError, ValueError)
"""whoever was asked has been killed a moment ago"""


class Faults:
    """While the context lasts; afterwards all hosts work as before. What each may have ended is noted first."""

    def __init__(self, running: Running, flow: Flow, pause: float, seed: int) -> None:
        self.by_kind: Counter[str] = Counter()
        self.stopped: set[str] = set()
        """hosts whose site was stopped"""
        self.not_admitting: set[str] = set()
        """hosts whose policy admitted the tool no more"""
        self.refusals: set[str] = set()
        """jobs whose release was refused"""
        self.answered: set[str] = set()
        """of them those of which the host has said so"""
        self.given_up: set[str] = set()
        """jobs that the federation's operator ended"""
        self.gone: list[str] = []
        """hosts that are gone for good, and revoked"""
        self.errors: list[str] = []
        self._running = running
        self._flow = flow
        self._pause = pause
        self._random = random.Random(seed + 2)
        self._over = threading.Event()
        self._policies = {host: (running.folder / f"policy-{host}.toml").read_text() for host in HOSTS}
        self._threads = [threading.Thread(target=self._work), threading.Thread(target=self._decide)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())

    def explains(self, job: str, host: str, state: str, code: str | None) -> bool:
        """Whether a job of ours may have ended so."""
        if code == "host_revoked" and host in self.gone:
            return state in ("lost", "cancelled")
        return {
            "cancelled": (code == "site.stopped" and host in self.stopped) or (code == "lost" and job in self.given_up),
            "refused": (code == "policy.tool_unknown" and host in self.not_admitting)
            or (code == "release.refused" and job in self.refusals),
            "lost": code == "lost" and job in self.given_up,
        }.get(state, False)

    # -- acts

    def _work(self) -> None:
        acts = (self._stop, self._change_policy, self._release_by_hand, self._give_up)
        while not self._over.wait(self._random.uniform(0.1, 1.9) * self._pause):
            act, host = self._random.choice(acts), self._random.choice(self._running.hosts)
            if self._is_one_to_go():
                act = self._go
            try:
                act(host)
            except _FAULTS as error:
                self.errors.append(f"{act.__name__} at {host}: {error!r}")
            self.by_kind[act.__name__.strip("_")] += 1

    def _is_one_to_go(self) -> bool:
        share = self._flow.ended / self._flow.wanted
        return len(self.gone) < sum(share >= at for at in _GONE_AT)

    def _go(self, host: str) -> None:
        """Of the first one the operator ends the jobs, too, before it is known that it will not come back."""
        self.gone.append(host)
        power_off(self._running, host)
        self._last()
        if len(self.gone) == 1:
            self._end_jobs_of(host)
            self._last()
        self._flow.hosts.remove(host)
        self._asked(lambda: self._running.operator.revoke(host, "the soak took it away"))

    def _stop(self, host: str) -> None:
        self.stopped.add(host)
        self._asked(lambda: self._site(host, "POST", "/stop"))
        self._last()
        self._asked(lambda: self._site(host, "POST", "/start"))

    def _change_policy(self, host: str) -> None:
        self.not_admitting.add(host)
        self._with_policy(host, 'id = "tally"', 'id = "tally-of-before"')

    def _release_by_hand(self, host: str) -> None:
        self._with_policy(host, 'report = "automatic"', 'report = "manual"')

    def _with_policy(self, host: str, present: str, other: str) -> None:
        policy = self._policies[host]
        assert present in policy
        self._apply(host, policy.replace(present, other))
        self._last()
        self._apply(host, policy)

    def _apply(self, host: str, policy: str) -> None:
        (self._running.folder / f"policy-{host}.toml").write_text(policy)
        self._asked(lambda: self._running.federation.supervisor.signal(f"orchestrator-{host}", "HUP"))

    def _give_up(self, host: str) -> None:
        """As of a host that will never come back; then it does."""
        supervisor, program = self._running.federation.supervisor, f"orchestrator-{host}"
        self._asked(lambda: supervisor.stop_program(program))
        try:
            self._end_jobs_of(host)
            self._last()
        finally:
            self._asked(lambda: supervisor.start_programs([program]))

    def _end_jobs_of(self, host: str) -> None:
        for experiment in self._asked(self._open):
            for job in experiment.jobs:
                if job.host == host:
                    self._end(job.id, experiment.id)

    def _end(self, job: str, experiment: str) -> None:
        self.given_up.add(job)
        with suppress(FedprocError, httpx.HTTPError):  # it has ended meanwhile, or the API was killed
            self._running.operator.lost(experiment, "the soak gave its host up")

    def _open(self) -> list[Any]:
        found = self._running.operator.experiments(state=["queued", "running"], limit=200).items
        return [self._running.operator.experiment(entry.id) for entry in found]

    def _last(self) -> None:
        self._over.wait(self._random.uniform(*_AWAY))

    def _decide(self) -> None:
        """As the operators of all sites."""
        chance = random.Random(self._random.random())
        while not self._over.wait(1):
            for host in list(self._running.hosts):
                with suppress(*_FAULTS):
                    self._decide_at(host, chance)

    def _decide_at(self, host: str, chance: random.Random) -> None:
        for entry in self._site(host, "GET", "/releases"):
            job, refused = entry["job"], chance.random() < _REFUSED
            if refused:
                self.refusals.add(job)
            decision = "refuse" if refused else "release"
            self._site(host, "POST", f"/releases/{job}", decision=decision, reason="looked at")
            self.by_kind[f"decision_{decision}"] += 1
            if refused:
                self.answered.add(job)

    def _site(self, host: str, method: str, path: str, **body: str) -> Any:
        transport = httpx.HTTPTransport(uds=str(self._running.folder / "hosts" / host / "site.sock"))
        with httpx.Client(transport=transport, base_url="http://site") as http:
            answer = http.request(method, path, json=body or None)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def _asked(self, ask: Callable[[], T]) -> T:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return ask()
            except _FAULTS:
                if time.monotonic() > until:
                    raise
            time.sleep(0.3)
