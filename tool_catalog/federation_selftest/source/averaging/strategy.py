"""Federated averaging that knows its hosts: who replied, who failed, and when too few are left to go on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, TypeVar

from flwr.common import (
    EvaluateIns,
    EvaluateRes,
    FitIns,
    FitRes,
    Parameters,
    Scalar,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.server import fit_clients
from flwr.server.strategy import FedAvg

from .faults import Broken, Fault
from .learning import Arrays, Learning, Limits, Measured
from .moments import Moments
from .replies import Introduction, Unusable, check_trained, introduction, measured

Reply = TypeVar("Reply", FitRes, EvaluateRes)
Read = TypeVar("Read")


@dataclass
class Round:
    """One round: the hosts that replied well, those that did not, and the global model's measures after it."""

    number: int
    replied: tuple[str, ...]
    failed: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    train_rows: int = 0
    test_rows: int = 0


class HostsAveraging(FedAvg):
    """FedAvg over exactly the experiment's hosts, each weighted by its number of training rows.

    ``report`` is called with every finished round. Every method that Flower calls raises :class:`Broken` as soon
    as fewer than ``limits.least`` hosts replied well: Flower itself would go on, or wait for a client that is gone.
    """

    def __init__(
        self, hosts: Sequence[str], limits: Limits, learning: Learning, report: Callable[[Round], None]
    ) -> None:
        super().__init__()
        self.model: Arrays | None = None
        self.features: tuple[str, ...] = ()
        self.rounds: list[Round] = []
        self.rows: dict[str, int] = {}
        self.hosts = tuple(sorted(hosts))
        self.limits = limits
        self._learning = learning
        self._report = report
        self._host_of: dict[str, str] = {}
        self._trained: frozenset[str] = frozenset()
        self._began = 0.0

    def initialize_parameters(self, client_manager: ClientManager) -> Parameters:
        """Wait for the hosts, then begin with the moments of all their training rows together."""
        client_manager.wait_for(len(self.hosts), timeout=self.limits.join_seconds)
        self._began = time.monotonic()
        ask = FitIns(Parameters([], "numpy.ndarray"), {"phase": "moments"})
        clients = [(client, ask) for client in client_manager.all().values()]
        replies, _ = fit_clients(clients, None, self.limits.round_seconds, 0)
        known = [entry for client, reply in replies if (entry := self._introduced(client, reply))]
        self._demand(0, set(self._host_of.values()))
        self.features = _same_features(known)
        self.rows = {entry.host: entry.moments.n for entry in known}
        moments = reduce(Moments.__add__, (entry.moments for entry in known))
        return self._take(self._learning.start(self.features, moments))

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        ask = FitIns(parameters, {"round": server_round})
        return [(client, ask) for client in self._present(server_round, client_manager)]

    def aggregate_fit(
        self, server_round: int, results: list[tuple[ClientProxy, FitRes]], failures: Sequence[Any]
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        model = self.learned()
        good = self._usable(results, lambda reply: check_trained(reply, model))
        self._demand(server_round, set(good))
        self._trained = frozenset(good)
        replies = [(client, reply) for client, reply in results if self._host_of[client.cid] in good]
        averaged, _ = super().aggregate_fit(server_round, replies, [])
        if averaged is None:
            raise Broken(f"round {server_round}: Flower returned no average")
        learned = zip(parameters_to_ndarrays(averaged)[: self._learning.averaged], model, strict=False)
        arrays = [array.astype(before.dtype) for array, before in learned]
        return self._take([*arrays, *model[self._learning.averaged :]]), {}

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        ask = EvaluateIns(parameters, {"round": server_round})
        return [(client, ask) for client in self._present(server_round, client_manager)]

    def aggregate_evaluate(
        self, server_round: int, results: list[tuple[ClientProxy, EvaluateRes]], failures: Sequence[Any]
    ) -> tuple[float | None, dict[str, Scalar]]:
        told = self._usable(results, lambda reply: measured(reply, held_out=self._learning.held_out))
        self._demand(server_round, set(told))
        replied = self._trained & set(told)
        seconds = time.monotonic() - self._began
        metrics = {**_weighted(list(told.values())), "hosts": len(replied), "seconds": round(seconds, 3)}
        rows = sum(entry.train_rows for entry in told.values()), sum(entry.test_rows for entry in told.values())
        done = Round(server_round, tuple(sorted(replied)), tuple(sorted(set(self.hosts) - replied)), metrics, *rows)
        self.rounds.append(done)
        self._report(done)
        return metrics["loss"], {}

    def _introduced(self, client: ClientProxy, reply: FitRes) -> Introduction | None:
        try:
            entry = introduction(reply)
        except Unusable as fault:
            print(f"a client's first reply is not used: {fault}", file=sys.stderr, flush=True)
            return None
        if entry.host not in self.hosts or entry.host in self._host_of.values():
            raise Broken(f"a client says that it is {entry.host!r}, which is not expected, or is here already")
        self._host_of[client.cid] = entry.host
        return entry

    def _present(self, number: int, clients: ClientManager) -> list[ClientProxy]:
        here = {cid: client for cid, client in clients.all().items() if cid in self._host_of}
        self._demand(number, {self._host_of[cid] for cid in here})
        return list(here.values())

    def _usable(self, results: Sequence[tuple[ClientProxy, Reply]], read: Callable[[Reply], Read]) -> dict[str, Read]:
        usable: dict[str, Read] = {}
        for client, reply in results:
            host = self._host_of[client.cid]
            try:
                usable[host] = read(reply)
            except Unusable as fault:
                print(f"{host}: reply not used: {fault}", file=sys.stderr, flush=True)
        return usable

    def _demand(self, number: int, hosts: set[str]) -> None:
        if len(hosts) >= self.limits.least:
            return
        lost = tuple(sorted(set(self.hosts) - hosts))
        self.rounds.append(Round(number, tuple(sorted(hosts)), lost))
        raise Broken(
            f"round {number}: no good reply from {', '.join(lost)}; {len(hosts)} of {len(self.hosts)} hosts are left "
            f"and at least {self.limits.least} must take part. See the client's log there"
        )

    def learned(self) -> Arrays:
        """The model as it is now. Raises :class:`Broken` if there is none yet."""
        if self.model is None:
            raise Broken("the training has no model: the hosts were not asked for their moments")
        return self.model

    def _take(self, model: Arrays) -> Parameters:
        self.model = model
        return ndarrays_to_parameters(model)


def _same_features(known: Sequence[Introduction]) -> tuple[str, ...]:
    if len({entry.features for entry in known}) > 1:
        raise Fault("the hosts' datasets have different features; choose datasets with the same numeric columns")
    return known[0].features


def _weighted(told: Sequence[Measured]) -> dict[str, float]:
    """Means over all rows of all hosts: the loss over training rows, the rest over held-out ones, if there are any."""
    found = {"loss": _mean([(entry.loss, entry.train_rows) for entry in told])}
    for name in ("test_loss", "accuracy"):
        pairs = [(value, entry.test_rows) for entry in told if (value := getattr(entry, name)) is not None]
        if pairs:
            found[name] = _mean(pairs)
    return found


def _mean(pairs: Sequence[tuple[float, int]]) -> float:
    return sum(value * rows for value, rows in pairs) / sum(rows for _, rows in pairs)
