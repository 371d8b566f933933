"""The server's side: Flower's workflow of SecAgg+ over the connections of its older API, once for each average."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from averaging.faults import Broken, Fault
from averaging.learning import Arrays
from averaging.strategy import HostsAveraging
from flwr.common import (
    Code,
    ConfigRecord,
    Context,
    EvaluateRes,
    FitIns,
    FitRes,
    Message,
    Parameters,
    RecordDict,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common import recorddict_compat as compat
from flwr.server import Server
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey

from .agreed import LEAST_HOSTS, LEVELS, MODULUS, MOST_HOSTS, RANGE, packed, strong_masks, unpacked

Results = list[tuple[ClientProxy, FitRes]]


class SecureServer(Server):
    """Flower's server, whose averages of trainings and of measures are both made by SecAgg+."""

    strategy: SecureAveraging

    def fit_round(self, server_round: int, timeout: float | None) -> Any:
        average, results = self._averaged("training", server_round, timeout)
        model = self.strategy.learned()
        learned = model[: self.strategy.averaged]
        if [array.shape for array in average] != [array.shape for array in learned]:
            raise Broken(f"round {server_round}: the average has another shape than the model")
        arrays = [new.astype(old.dtype) for new, old in zip(average, learned, strict=True)]
        told = ndarrays_to_parameters([*arrays, *model[len(arrays) :]])
        same = [(client, FitRes(res.status, told, res.num_examples, res.metrics)) for client, res in results]
        parameters, metrics = self.strategy.aggregate_fit(server_round, same, [])
        return parameters, metrics, (same, [])

    def evaluate_round(self, server_round: int, timeout: float | None) -> Any:
        average, results = self._averaged("measurement", server_round, timeout)
        told = [(client, measures(average, results, res)) for client, res in results]
        loss, metrics = self.strategy.aggregate_evaluate(server_round, told, [])
        return loss, metrics, (told, [])

    def _averaged(self, what: str, number: int, timeout: float | None) -> tuple[Arrays, Results]:
        """The hosts' average by rows, and their replies without any array. Raises Broken if a host is lost."""
        asked = self.strategy.configure_fit(number, self.parameters, self.client_manager())
        clients = {node: client for node, (client, _) in enumerate(asked, 1)}
        for node, client in clients.items():
            client.node_id = node
        grid, kept = Connections(clients, what, timeout), _Kept([(client, ins) for client, ins in asked])
        workflow = SecAggPlusWorkflow(
            num_shares=1.0, reconstruction_threshold=1.0, max_weight=float(self.strategy.most_rows),
            clipping_range=RANGE, quantization_range=LEVELS, modulus_range=MODULUS, timeout=timeout,
        )  # fmt: skip
        workflow(grid, _context(kept, self.client_manager(), number, self.parameters))
        if kept.average is None:
            self.strategy.demand(number, [client for node, client in clients.items() if node not in grid.lost])
            raise Broken(f"round {number}: the secure aggregation ended without a sum; see the clients' logs")
        return kept.average, kept.results


class SecureAveraging(HostsAveraging):
    """The strategy of such a server; needs all of at least three hosts. Raises Fault for fewer, or for too many."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        if not LEAST_HOSTS <= len(self.hosts) <= MOST_HOSTS or self.limits.least < len(self.hosts):
            raise Fault(f"secure_aggregation: it needs all of {LEAST_HOSTS} to {MOST_HOSTS} hosts")
        strong_masks()

    @property
    def averaged(self) -> int:
        """How many arrays of the model are learned."""
        return self._learning.averaged

    @property
    def most_rows(self) -> int:
        """The weight of the host with the most rows."""
        return max(self.rows.values())

    def demand(self, number: int, clients: Iterable[ClientProxy]) -> None:
        """Raises Broken that names the hosts that are not among the clients."""
        self._demand(number, {self._host_of[client.cid] for client in clients})


class Connections:
    """What Flower's workflow sends and receives by: each message is one question of the older API."""

    def __init__(self, clients: Mapping[int, ClientProxy], what: str, timeout: float | None) -> None:
        self.lost: set[int] = set()
        self._clients, self._what, self._timeout = clients, what, timeout

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """The replies of those that are not lost."""
        asked = list(messages)
        with ThreadPoolExecutor(max(1, len(asked))) as pool:
            return [reply for reply in pool.map(self._asked, asked) if reply is not None]

    def received(self, node: int, content: bytes) -> None:
        """Called with whatever a host has sent, before it is used."""

    def _asked(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        config = {"pass": self._what, "node": node, "record": packed(message.content)}
        try:
            reply = self._clients[node].fit(FitIns(Parameters([], "numpy.ndarray"), config), self._timeout, None)
            content = reply.metrics["record"]  # which it lacks where the host has not answered well
            found = unpacked(content)
        except Exception as fault:  # noqa: BLE001 (whatever a host does, it is that host that is lost)
            print(f"a host is lost in the secure aggregation: {type(fault).__name__}", file=sys.stderr, flush=True)
            self.lost.add(node)
            return None
        self.received(node, content)
        return Message(found, reply_to=message)


class _Kept(FedAvg):
    """The strategy that Flower's workflow knows: it asks the same clients, and keeps the average."""

    def __init__(self, asked: list[tuple[ClientProxy, FitIns]]) -> None:
        super().__init__()
        self.average: Arrays | None = None
        self.results: Results = []
        self._asked = asked

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: ClientManager) -> Any:
        return self._asked

    def aggregate_fit(self, server_round: int, results: Results, failures: Any) -> Any:
        self.average, self.results = parameters_to_ndarrays(results[0][1].parameters), results
        return None, {}


def measures(average: Arrays, results: Results, res: FitRes) -> EvaluateRes:
    """A host's reply as if it had measured what all have together, so that their mean is that. Raises Broken."""
    if [array.shape for array in average] != [(3,)]:
        raise Broken("the hosts' measures have another shape than was agreed")
    loss, test_loss, accuracy = (max(0.0, float(value)) for value in average[0])
    told: dict[str, Any] = {**res.metrics, "loss": loss}
    rows, tested = (sum(count) for count in zip(*((r.num_examples, _tested(r)) for _, r in results), strict=True))
    if tested:
        told |= {"test_loss": test_loss * rows / tested, "accuracy": min(1.0, accuracy * rows / tested)}
    return EvaluateRes(Status(Code.OK, ""), loss, res.num_examples, told)


def _tested(res: FitRes) -> int:
    value = res.metrics.get("test_rows")
    return value if isinstance(value, int) and 0 <= value <= 10**9 else 0


def _context(strategy: FedAvg, clients: ClientManager, number: int, parameters: Parameters) -> LegacyContext:
    state = RecordDict()
    state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: number})
    state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(parameters, True)
    context = Context(run_id=0, node_id=0, node_config={}, state=state, run_config={})
    return LegacyContext(context, strategy=strategy, client_manager=clients)


def secure() -> tuple[type[Server], type[HostsAveraging]]:
    """For averaging.server.run."""
    return SecureServer, SecureAveraging
