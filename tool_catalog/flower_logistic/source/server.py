"""The task ``server``: Flower's server application is the driver of the training (its API before SuperLink).

Exit code and ``result.json`` agree: whatever host failed in whatever round, beyond what ``least`` allows, is a
failure of the whole, with its name in the result.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faults import Broken, Fault
from flwr.server import Server, ServerConfig, SimpleClientManager
from flwr.server.server import run_fl
from flwr.server.superlink.fleet.grpc_bidi.grpc_server import start_grpc_server
from request import Request
from strategy import HostsAveraging, Round

KEEPALIVE_MS = 30_000
"""The server pings: clients that did so every 30 s would be cut off by gRPC's own limit on pings."""

LARGEST_MESSAGE = 16 * 1024 * 1024


def run(port: int, hosts: Sequence[str], least: int, request: Request, output: Path, metrics: Path) -> None:
    """Train with all of ``hosts`` and write ``model.npz`` and ``result.json`` into ``output``.

    Each round's measures are appended to ``metrics`` as they come. Raises :class:`Broken` if fewer than ``least``
    hosts took part in any round; ``result.json`` then says so too, and there is no model.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with metrics.open("a", encoding="utf-8") as stream:
        strategy = HostsAveraging(hosts, least, request, lambda done: _tell(done, stream))
        try:
            _train(port, strategy, request)
        except Fault as fault:
            _write_result(output, strategy, status="failed", error=str(fault), model=None)
            raise
    _write_result(output, strategy, status="ok", error=None, model=_write_model(output / "model.npz", strategy))


def _train(port: int, strategy: HostsAveraging, request: Request) -> None:
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
        server = Server(client_manager=clients, strategy=strategy)
        run_fl(server, ServerConfig(num_rounds=request.rounds, round_timeout=request.round_seconds))
    finally:
        listener.stop(grace=1).wait()


def _tell(done: Round, stream: Any) -> None:
    stream.write(json.dumps({"round": done.number, **done.metrics}) + "\n")
    stream.flush()
    told = done.metrics
    print(f"round {done.number}: loss {told['loss']:.4f}, held-out accuracy {told['accuracy']:.4f}", flush=True)


def _write_model(path: Path, strategy: HostsAveraging) -> dict[str, Any]:
    if strategy.model is None:
        raise Broken("training ended without a model")
    model = strategy.model
    np.savez(
        path,
        features=np.array(strategy.features),
        coef=model.coef,
        intercept=model.intercept,
        mean=model.mean,
        scale=model.scale,
    )
    return {"file": path.name}


def _write_result(
    output: Path, strategy: HostsAveraging, *, status: str, error: str | None, model: dict[str, Any] | None
) -> None:
    failures = [{"round": r.number, "host": host} for r in strategy.rounds for host in r.failed]
    result = {
        "schema_version": 2,
        "status": status,
        "error": error,
        "rounds": [
            {"round": r.number, "train_rows": r.train_rows, "test_rows": r.test_rows, **r.metrics, "replied": r.replied}
            for r in strategy.rounds
        ],
        "failures": failures,
        "model": model,
    }
    (output / "result.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
