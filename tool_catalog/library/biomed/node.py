"""A hospital's side: a node of Fed-BioMed with one dataset, which it trains on as often as was agreed.

The node dials the researcher and listens to nobody. Its components' folder is made anew in each run.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regression.faults import Broken, Fault

from .guard import TOLD, Agreed, Guard

Message = Mapping[str, Any]
Measure = Callable[[int, Mapping[str, Any]], None]
_GRACE = 2.0
"""seconds in which a last message may still leave"""


@dataclass(frozen=True)
class Offer:
    """What a host has: a folder that stays there, and the one text about it that the researcher reads."""

    folder: Path
    text: str
    tags: tuple[str, ...]


def prepare(folder: Path, server: str, host: str) -> Any:
    """Make a node's component in ``folder``, which must be new, for the researcher at ``server`` (host:port)."""
    name, _, port = server.rpartition(":")
    os.environ.update(
        FBM_RESEARCHER_IP=name,
        FBM_RESEARCHER_PORT=port,
        FBM_SECURITY_TRAINING_PLAN_APPROVAL="True",
        FBM_SECURITY_ALLOW_DEFAULT_TRAINING_PLANS="False",
        FBM_SECURITY_ALLOW_PREPROC="False",
        FBM_SECURITY_ALLOW_FEDERATED_ANALYTICS="False",
        FBM_SECURITY_SECURE_AGGREGATION="False",
    )
    from fedbiomed.common.logger import logger
    from fedbiomed.node.config import NodeComponent

    logger.setLevel("ERROR")
    return NodeComponent().initiate(str(folder), alias=host)


def run(config: Any, offer: Offer, agreed: Agreed, patience: float, measure: Measure) -> None:
    """Train until the researcher says that it has every round; ``measure`` is called before each with its model.

    Raises Broken if it asks for anything else, is silent for ``patience`` seconds, or a training fails here.
    """
    from fedbiomed.node.node import Node

    node = Node(config, {"gpu": False, "gpu_num": 1, "gpu_only": False, "debug": False})
    node.dataset_manager.add_database("dataset", "custom", list(offer.tags), offer.text, str(offer.folder))
    _approve(node, agreed, Path(config.root))
    Watch(node, Guard(agreed), measure).until_ended(patience)


def _approve(node: Any, agreed: Agreed, folder: Path) -> None:
    """Fed-BioMed's own approval, by hash: of the plan in the tool's signed source and of no other."""
    plan = folder / "approved.py"
    plan.write_text(agreed.plan, encoding="utf-8")
    node.tp_security_manager.register_training_plan(agreed.plan_class, "of the tool's signed source", str(plan))


class Watch:
    """Between a node and the researcher: looks at each message in both directions, and knows when it is over."""

    def __init__(self, node: Any, guard: Guard, measure: Measure) -> None:
        self._node, self._guard, self._measure = node, guard, measure
        self._events: queue.Queue[Fault | str] = queue.Queue()
        self._on_message, self._send = node.on_message, node._grpc_client.send
        node._grpc_client._on_message = self._asked
        node._grpc_client.send = self._told

    def until_ended(self, patience: float) -> None:
        self._node.start_messaging(lambda: self._events.put(Broken("the connection with the researcher is lost")))
        threading.Thread(target=self._node.task_manager, daemon=True).start()
        while (event := self._next(patience)) != "end":
            if isinstance(event, Fault):
                time.sleep(_GRACE)
                raise event

    def _next(self, patience: float) -> Fault | str:
        try:
            return self._events.get(timeout=patience)
        except queue.Empty:
            return Broken(f"the researcher is silent for {patience:.0f} s")

    def _asked(self, message: dict[str, Any]) -> None:
        try:
            kind = self._guard.admit(message)
            if kind == "train":
                self._measure(self._guard.trained, message["params"])
        except Fault as fault:
            self._events.put(fault)
            return
        self._events.put(kind)
        if kind != "end":
            self._on_message(message)

    def _told(self, message: Any, broadcast: bool = False) -> None:
        kind = type(message).__name__
        if kind == "ErrorMessage" or (kind == "TrainReply" and not message.success):
            self._events.put(Broken("the training failed here; the lines above say why"))
            message.extra_msg = message.msg = "the training failed at this host; its own log says why"
        elif kind not in TOLD:
            return
        self._send(message, broadcast=broadcast)


def tell(host: str, number: int, rows: int) -> None:
    """A line of this host's log for each training."""
    print(f"{host}: training {number} on {rows} rows", file=sys.stdout, flush=True)


def plan_source(plan: type) -> str:
    """The training plan as a researcher sends it: what it depends on, and the class."""
    source: str = plan().source()
    return source


def as_sent(value: Any) -> Any:
    """A value as it comes off Fed-BioMed's wire."""
    from fedbiomed.common.serializer import Serializer

    return Serializer.loads(Serializer.dumps(value))
