"""The two tasks of a training that may be protected: with what is asked for, and as ever without.

A request is an asked.Protection with ``rounds``, and ``join_seconds`` and ``round_seconds`` of wall-clock time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from averaging import client, server
from averaging.learning import Arrays, Learner, Learning
from averaging.moments import Moments
from averaging.strategy import HostsAveraging
from flwr.server import Server

Kind = tuple[type[Server], type[HostsAveraging]]


def run_client(options: argparse.Namespace, request: Any, learner: Learner, averaged: int) -> None:
    """Serve the server, with masks where they are asked for; ``averaged`` as the tool's Learning has it."""
    if not request.secure_aggregation:
        client.run(options.server, client.Site(options.host, learner, request.rounds))
        return
    from secure_averaging.client import SecureSite

    client.run(options.server, SecureSite(options.host, learner, request.rounds, averaged))


def run_server(
    options: argparse.Namespace,
    hosts: Sequence[str],
    request: Any,
    learning: Learning,
    *,
    named: server.Named,
    protects: str,
    told: server.Told | None = None,
    secure: Callable[[], Kind] | None = None,
) -> None:
    """As averaging.server.run. With differential privacy the result says what was spent, and whom it ``protects``.

    ``secure``: another server and strategy for secure aggregation than the usual ones.
    """
    limits = server.Limits(
        request.rounds, request.join_seconds, request.round_seconds, server.least_of(options.min_hosts, hosts)
    )
    kind = server.PLAIN
    if request.secure_aggregation:
        from secure_averaging.server import secure as usual

        kind = (secure or usual)()
    if request.epsilon is not None:
        reported = _Reported(request, learning, told, protects)
        learning, told = reported.learning, reported.told
    server.run(
        options.port, hosts, limits, learning, options.output, options.metrics, named=named, told=told, kind=kind
    )


class _Reported:
    """A training that begins as ever, and whose result says what was spent."""

    def __init__(self, request: Any, learning: Learning, told: server.Told | None, protects: str) -> None:
        from .budget import Budget

        self.learning = replace(learning, start=self._start)
        self._budget = Budget.of(request)
        self._learning, self._more, self._protects = learning, told, protects
        self._rows = 0

    def _start(self, names: tuple[str, ...], moments: Moments) -> Arrays:
        self._rows = moments.n
        return self._learning.start(names, moments)

    def told(self, names: tuple[str, ...], learned: Arrays) -> dict[str, Any]:
        more = self._more(names, learned) if self._more else {}
        return more | {"privacy": self._budget.report(self._rows, self._protects)}
