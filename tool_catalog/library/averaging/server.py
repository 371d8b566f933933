"""The server's side of a training: Flower's server application is its driver (its API before SuperLink).

Exit code and ``result.json`` agree: whatever host failed in whatever round, beyond what ``least`` allows, is a
failure of the whole, with its name in the result.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flwr.server import Server, ServerConfig, SimpleClientManager
from flwr.server.server import run_fl
from flwr.server.superlink.fleet.grpc_bidi.grpc_server import start_grpc_server

from .faults import Fault
from .learning import Arrays, Learning, Limits
from .strategy import HostsAveraging, Round

KEEPALIVE_MS = 30_000
"""The server pings: clients that did so every 30 s would be cut off by gRPC's own limit on pings."""

LARGEST_MESSAGE = 16 * 1024 * 1024
PLAIN: tuple[type[Server], type[HostsAveraging]] = (Server, HostsAveraging)
"""The usual server, and its strategy."""
Named = Callable[[tuple[str, ...], Arrays], Mapping[str, Any]]
Told = Callable[[tuple[str, ...], Arrays], dict[str, Any]]


def run(
    port: int,
    hosts: Sequence[str],
    limits: Limits,
    learning: Learning,
    output: Path,
    metrics: Path,
    *,
    named: Named,
    told: Told | None = None,
    kind: tuple[type[Server], type[HostsAveraging]] = PLAIN,
) -> None:
    """Train with all of ``hosts`` and write ``model.npz`` and ``result.json`` into ``output``.

    ``named`` gives the arrays of the model's file from columns and model, ``told`` what the result says of it beside,
    with the rows that it was trained on. ``kind`` is the server and its strategy.
    Each round's measures are appended to ``metrics`` as they come. Raises Broken if fewer than ``limits.least``
    hosts took part in any round; ``result.json`` then says so too, and there is no model.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with metrics.open("a", encoding="utf-8") as stream:
        strategy = kind[1](hosts, limits, learning, lambda done: _tell(done, stream))
        try:
            _train(port, kind[0], strategy)
            learned = strategy.learned()
        except Exception as fault:
            _write_result(output, strategy, status="failed", error=str(fault), model=None)
            raise
    np.savez(output / "model.npz", **named(strategy.features, learned))
    more = {"train_rows": strategy.rounds[-1].train_rows, **told(strategy.features, learned)} if told else {}
    _write_result(output, strategy, status="ok", error=None, model={"file": "model.npz", **more})


def least_of(given: int | None, hosts: Sequence[str]) -> int:
    """How many hosts must reply: all, unless the command line says fewer. Raises Fault."""
    least = len(hosts) if given is None else given
    if not 1 <= least <= len(hosts):
        raise Fault(f"--min-hosts: must be from 1 to {len(hosts)}, the number of hosts")
    return least


def _train(port: int, kind: type[Server], strategy: HostsAveraging) -> None:
    clients = SimpleClientManager()
    listener = start_grpc_server(
        clients,
        f"127.0.0.1:{port}",
        max_concurrent_workers=64,
        max_message_length=LARGEST_MESSAGE,
        keepalive_time_ms=KEEPALIVE_MS,
    )
    try:
        print(f"waiting on port {port} for {', '.join(strategy.hosts)}", flush=True)
        server = kind(client_manager=clients, strategy=strategy)
        limits = strategy.limits
        run_fl(server, ServerConfig(num_rounds=limits.rounds, round_timeout=limits.round_seconds))
    finally:
        listener.stop(grace=1).wait()


def _tell(done: Round, stream: Any) -> None:
    stream.write(json.dumps({"round": done.number, **done.metrics}) + "\n")
    stream.flush()
    told = done.metrics
    accuracy = f", held-out accuracy {told['accuracy']:.4f}" if "accuracy" in told else ""
    print(f"round {done.number}: loss {told['loss']:.4f}{accuracy}", flush=True)


def _write_result(
    output: Path, strategy: HostsAveraging, *, status: str, error: str | None, model: dict[str, Any] | None
) -> None:
    result = {
        "schema_version": 2,
        "status": status,
        "error": error,
        "rounds": [
            {"round": r.number, "train_rows": r.train_rows, "test_rows": r.test_rows, **r.metrics, "replied": r.replied}
            for r in strategy.rounds
        ],
        "failures": [{"round": r.number, "host": host} for r in strategy.rounds for host in r.failed],
        "model": model,
    }
    (output / "result.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
