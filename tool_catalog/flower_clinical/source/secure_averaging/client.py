"""One site's side: it tells masked numbers in the stages of SecAgg+, and refuses whatever would take the masks away."""

from __future__ import annotations

from typing import Any

import numpy as np
from averaging.client import Site, Told
from averaging.faults import Broken
from averaging.learning import Arrays, Learner
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, Context, FitRes, Message, MessageType, RecordDict, Status
from flwr.common import recorddict_compat as compat
from flwr.common.parameter import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage

from .agreed import LEAST_HOSTS, LEVELS, MODULUS, MOST_HOSTS, PASSES, RANGE, packed, strong_masks, unpacked


class SecureSite(Site):
    """As :class:`Site`, but for moments it tells nothing that is not masked together with all hosts' numbers.

    Raises :class:`Broken` for a server that asks for a plain contribution, for one of fewer hosts than agreed, or for
    both kinds of shares, with which it could take a host's masks away.
    """

    def __init__(self, host: str, learner: Learner, rounds: int, averaged: int) -> None:
        """``averaged``: so many arrays of a model are learned, as the tool's Learning has it."""
        super().__init__(host, learner, rounds)
        strong_masks()
        self._averaged = averaged
        self._context = Context(run_id=0, node_id=0, node_config={}, state=RecordDict(), run_config={})
        self._hosts: frozenset[int] = frozenset()
        self._sample = 0

    def fit(self, parameters: Arrays, config: Told) -> tuple[Arrays, int, Told]:
        if config.get("phase") == "moments":
            return super().fit(parameters, config)
        what, node = config.get("pass"), config.get("node")
        if what not in PASSES or not isinstance(node, int):
            raise Broken("the server asks for a contribution that is not masked: nothing is told")
        try:
            asked = Message(unpacked(config["record"]), dst_node_id=node, message_type=MessageType.TRAIN)
            self._check_stage(asked)
            reply = secaggplus_mod(asked, self._context, lambda message, _: self._plain(message, str(what)))
        except Broken:
            raise
        except Exception as fault:  # Flower's mod raises what it likes of wrong messages
            raise Broken(
                f"the server does not keep to the secure aggregation: {type(fault).__name__}: {fault}"
            ) from fault
        return [], 0, {"record": packed(reply.content)}

    def evaluate(self, parameters: Arrays, config: Told) -> tuple[float, int, Told]:
        raise Broken("the server asks for measures that are not masked: nothing is told")

    def _plain(self, message: Message, what: str) -> Message:
        """What Flower's mod then masks."""
        ins = compat.recorddict_to_fitins(message.content, keep_input=True)
        arrays = parameters_to_ndarrays(ins.parameters)
        number = self._count(what)
        self._check(arrays)
        told: dict[str, Any] = {"host": self.host}
        if what == "training":
            found = self._learner.train(arrays, number)[: self._averaged]
            print(f"{self.host}: round {number}: trained on {self._learner.rows} rows", flush=True)
        else:
            measured = self._learner.measure(arrays)
            told["test_rows"] = measured.test_rows
            share = measured.test_rows / self._learner.rows
            tested = ((measured.test_loss or 0.0) * share, (measured.accuracy or 0.0) * share)
            found = [np.clip(np.array([measured.loss, *tested]), 0, RANGE)]
        if not all((np.abs(array) <= RANGE).all() for array in found):
            raise Broken(
                f"the model has numbers beyond {RANGE:g}, which cannot be masked: a lower learning_rate may help"
            )
        content = ndarrays_to_parameters([array.astype(np.float64) for array in found])
        res = FitRes(Status(Code.OK, ""), content, self._learner.rows, told)
        return Message(compat.fitres_to_recorddict(res, keep_input=False), reply_to=message)

    def _check_stage(self, asked: Message) -> None:
        """What Flower's mod takes the server's word for."""
        configs = asked.content.config_records[RECORD_KEY_CONFIGS]
        stage, node = configs[Key.STAGE], asked.metadata.dst_node_id
        if stage == Stage.SETUP:
            self._begin(configs)
        elif stage == Stage.SHARE_KEYS:
            self._hosts = frozenset(int(name) for name in configs if name != Key.STAGE)
            _demand(len(self._hosts) == self._sample and node in self._hosts, "other hosts than it began with")
        elif stage == Stage.COLLECT_MASKED_VECTORS:
            sources = list(configs[Key.SOURCE_LIST])
            _demand(sorted(sources) == sorted(self._hosts - {node}), "a sum without some of the hosts")
        elif stage == Stage.UNMASK:
            active, dead = list(configs[Key.ACTIVE_NODE_ID_LIST]), list(configs[Key.DEAD_NODE_ID_LIST])
            _demand(sorted(active) == sorted(self._hosts) and not dead, "shares of keys beside those of the sum")

    def _begin(self, configs: Any) -> None:
        sample = configs[Key.SAMPLE_NUMBER]
        _demand(LEAST_HOSTS <= sample <= MOST_HOSTS, f"a sum of {sample} hosts, not of {LEAST_HOSTS} to {MOST_HOSTS}")
        _demand(self._sample in (0, sample), "another number of hosts than before")
        _demand(configs[Key.SHARE_NUMBER] == configs[Key.THRESHOLD] == sample, "fewer shares than there are hosts")
        agreed = (configs[Key.CLIPPING_RANGE], configs[Key.TARGET_RANGE], configs[Key.MOD_RANGE])
        _demand(agreed == (RANGE, LEVELS, MODULUS), "another range of numbers than was agreed")
        _demand(configs[Key.MAX_WEIGHT] >= self._learner.rows, "a weight below this site's rows")
        self._sample, self._hosts = sample, frozenset()


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(f"the server asks for {what}: nothing is told")
