"""The task ``client``: trains on this site's rows when asked, and tells arrays and sums, never a row.

Protocol, inside Flower's ``fit`` and ``evaluate`` messages: ``fit`` with ``phase`` = ``moments`` answers with the
training rows' moments; any other ``fit`` trains the global model that came with it; ``evaluate`` measures that
model on the training and on the held-out rows.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

import grpc
from data import SiteData
from faults import Broken
from flwr.client import NumPyClient, start_client
from model import Model, Moments
from numpy.typing import NDArray
from request import Request

Arrays = list[NDArray[Any]]
Told = dict[str, bool | bytes | float | int | str]


class Site(NumPyClient):
    """One site's side of the training."""

    def __init__(self, host: str, data: SiteData, request: Request) -> None:
        self._host = host
        self._data = data
        self._request = request

    def fit(self, parameters: Arrays, config: Told) -> tuple[Arrays, int, Told]:
        told: Told = {"host": self._host}
        train = self._data.train
        if config.get("phase") == "moments":
            moments = Moments.of(train.features)
            return [moments.mean, moments.m2], moments.n, told | {"features": "\n".join(self._data.names)}
        request = self._request
        model = Model.from_arrays(parameters).trained(
            train.features, train.labels, steps=request.local_steps, rate=request.learning_rate, l2=request.l2
        )
        print(f"{self._host}: round {config.get('round')!r}: trained on {len(train.labels)} rows", flush=True)
        return model.arrays(), len(train.labels), told

    def evaluate(self, parameters: Arrays, config: Told) -> tuple[float, int, Told]:
        model, train, test = Model.from_arrays(parameters), self._data.train, self._data.test
        told: Told = {
            "host": self._host,
            "train_rows": len(train.labels),
            "train_loss": model.loss(train.features, train.labels),
            "accuracy": model.accuracy(test.features, test.labels),
        }
        return model.loss(test.features, test.labels), len(test.labels), told


def run(address: str, host: str, data: SiteData, request: Request) -> None:
    """Serve the server at ``address`` (host:port) until it says that training is over.

    Raises :class:`Broken` if it cannot be found or goes away earlier.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    try:
        start_client(server_address=resolved(address), client=Site(host, data, request).to_client())
    except grpc.RpcError as fault:
        reason = f"{fault.code().name}: {fault.details()}" if isinstance(fault, grpc.Call) else str(fault)
        raise Broken(f"the connection to the server ended before training was over ({reason})") from fault
    print(f"{host}: the server has ended the training", flush=True)


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
