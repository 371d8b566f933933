"""One site's side of a training: it answers what is asked for, as often as was agreed, with arrays and sums.

Protocol, inside Flower's ``fit`` and ``evaluate`` messages: ``fit`` with ``phase`` = ``moments`` answers with the
training rows' moments; any other ``fit`` trains the global model that came with it; ``evaluate`` measures that model.
"""

from __future__ import annotations

import logging
import socket
import time

import grpc
import numpy as np
from flwr.client import NumPyClient, start_client

from .faults import Broken
from .learning import Arrays, Learner

Told = dict[str, bool | bytes | float | int | str]
SERVER_FIRST_SECONDS = 5.0
"""The first job that fails is the one whose reason people read, and the server's says which host was lost."""


class Site(NumPyClient):
    """Moments once, then at most ``rounds`` trainings and as many measurements: a server that asks for more gets none.

    All models must have the learner's shapes, and the type of the first one. Raises :class:`Broken` for what was not
    agreed.
    """

    def __init__(self, host: str, learner: Learner, rounds: int) -> None:
        self.host = host
        self._learner = learner
        self._agreed = {"moments": 1, "training": rounds, "measurement": rounds}
        self._asked = dict.fromkeys(self._agreed, 0)
        self._types: list[np.dtype] | None = None

    def fit(self, parameters: Arrays, config: Told) -> tuple[Arrays, int, Told]:
        told: Told = {"host": self.host}
        if config.get("phase") == "moments":
            self._count("moments")
            moments = self._learner.moments()
            return [moments.mean, moments.m2], moments.n, told | {"features": "\n".join(self._learner.names)}
        number = self._count("training")
        self._check(parameters)
        trained = self._learner.train(parameters, number)
        rows = self._learner.rows
        print(f"{self.host}: round {number}: trained on {rows} rows", flush=True)
        return trained, rows, told

    def evaluate(self, parameters: Arrays, config: Told) -> tuple[float, int, Told]:
        self._count("measurement")
        self._check(parameters)
        measured = self._learner.measure(parameters)
        told: Told = {"host": self.host, "loss": measured.loss, "test_rows": measured.test_rows}
        for name in ("test_loss", "accuracy"):
            if (value := getattr(measured, name)) is not None:
                told[name] = value
        return measured.loss, measured.train_rows, told

    def _count(self, what: str) -> int:
        """How often it was asked for, with this time."""
        if self._asked[what] == self._agreed[what]:
            raise Broken(f"the server asks for more than was agreed: another {what}")
        self._asked[what] += 1
        return self._asked[what]

    def _check(self, arrays: Arrays) -> None:
        types = [array.dtype for array in arrays]
        fits = tuple(array.shape for array in arrays) == self._learner.shapes and types == (self._types or types)
        if not fits or not all(one.kind == "f" for one in types) or not all(np.isfinite(one).all() for one in arrays):
            raise Broken("the server sent a model of another shape or type, or one with numbers that are not finite")
        self._types = types


def run(address: str, site: Site) -> None:
    """Serve the server at ``address`` (host:port) until it says that training is over.

    Raises :class:`Broken` if it cannot be found, goes away earlier, or asks for what was not agreed.
    """
    logging.getLogger("flwr").setLevel(logging.CRITICAL)  # what is raised is told once, by whoever calls this
    try:
        start_client(server_address=resolved(address), client=site.to_client())
    except grpc.RpcError as fault:
        reason = f"{fault.code().name}: {fault.details()}" if isinstance(fault, grpc.Call) else str(fault)
        time.sleep(SERVER_FIRST_SECONDS)
        raise Broken(f"the connection to the server ended before training was over ({reason})") from fault
    print(f"{site.host}: the server has ended the training", flush=True)


def resolved(address: str) -> str:
    """``address`` with its name replaced by the address in the hosts file, so that gRPC resolves nothing itself.

    gRPC's own resolver asks DNS servers, of which a job has none, and waits for them.
    """
    name, _, port = address.rpartition(":")
    try:
        family, _, _, _, found = socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    except (OSError, ValueError) as fault:
        raise Broken(f"the server's address {address!r} leads nowhere: {fault}") from fault
    host = f"[{found[0]}]" if family == socket.AF_INET6 else str(found[0])
    return f"{host}:{port}"
