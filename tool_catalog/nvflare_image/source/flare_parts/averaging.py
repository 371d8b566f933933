"""The server's side, as NVFLARE's controller: federated averaging over exactly the experiment's hosts, by rows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import network
import numpy as np
from network import Array
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.workflows.model_controller import ModelController
from patches.faults import Broken
from request import Request

from . import job
from .site import arrays_of

MEASURES = ("loss", "test_loss", "accuracy")


class Averaging(ModelController):
    """Writes each round, and the model at the end; a host without a good reply ends all of it, and is named."""

    def __init__(self) -> None:
        super().__init__(persistor_id="", ignore_result_error=True, task_check_period=0.1)

    def run(self) -> None:
        settings = job.settings()
        self._rows: dict[str, dict[str, int]] = settings["rows"]
        self._request = Request(**settings["request"])
        self._told: list[dict[str, Any]] = []
        begun = time.monotonic()
        try:
            with Path(settings["metrics"]).open("a", encoding="utf-8") as stream:
                arrays = self._rounds(stream, begun)
        except Broken as fault:
            Path(settings["told"]).write_text(json.dumps({"error": str(fault)}))
            self.panic(str(fault))
            return
        np.savez(settings["model"], **dict(zip(network.NAMES, arrays, strict=True)))
        Path(settings["told"]).write_text(json.dumps({"rounds": self._told}))

    def _rounds(self, stream: Any, begun: float) -> list[Array]:
        arrays = network.start(self._request.size, self._request.seed)
        for number in range(1, self._request.rounds + 1):
            trained = self._ask(job.TRAIN, number, arrays)
            models = {host: self._model(number, host, one) for host, one in trained.items()}
            arrays = self._average(models)
            told = round_of(number, self._measures(number, arrays), self._rows, time.monotonic() - begun)
            self._told.append(told)
            shown = ("round", *MEASURES, "hosts", "seconds")
            stream.write(json.dumps({name: told[name] for name in shown}) + "\n")
            stream.flush()
            print(f"round {number}: loss {told['loss']:.4f}, accuracy {told['accuracy']:.4f}", flush=True)
        return arrays

    def _ask(self, task: str, number: int, arrays: list[Array]) -> dict[str, FLModel]:
        """The replies of all hosts. Raises Broken naming those without one."""
        params = dict(zip(network.NAMES, arrays, strict=True))
        asked = FLModel(params_type=ParamsType.FULL, params=params, current_round=number)
        hosts = sorted(self._rows)
        found = self.send_model_and_wait(
            task_name=task, data=asked, targets=hosts, min_responses=len(hosts), timeout=self._request.round_seconds
        )
        replies = {str(model.meta["client_name"]): model for model in found}
        if missing := sorted(self._rows.keys() - replies.keys()):
            raise Broken(
                f"round {number}: no good reply from {', '.join(missing)} to {task}; see the client's log there"
            )
        return replies

    def _model(self, number: int, host: str, reply: FLModel) -> list[Array]:
        try:
            return arrays_of(reply.params, self._request.size)
        except Broken as fault:
            raise Broken(f"round {number}: no good reply from {host}: {fault}") from fault

    def _average(self, models: Mapping[str, list[Array]]) -> list[Array]:
        weights = [self._rows[host]["train_rows"] for host in models]
        parts = zip(*models.values(), strict=True)
        return [np.average(part, axis=0, weights=weights).astype(np.float32) for part in parts]

    def _measures(self, number: int, arrays: list[Array]) -> dict[str, dict[str, float]]:
        found = {}
        for host, reply in self._ask(job.VALIDATE, number, arrays).items():
            told = reply.metrics
            if not isinstance(told, dict) or told.keys() != set(MEASURES) or not all(map(_fits, told.values())):
                raise Broken(f"round {number}: no good reply from {host}: its measures are none")
            if told["accuracy"] > 1:
                raise Broken(f"round {number}: no good reply from {host}: its accuracy is more than 1")
            found[host] = {name: float(told[name]) for name in MEASURES}
        return found


def round_of(
    number: int, found: Mapping[str, Mapping[str, float]], rows: Mapping[str, Mapping[str, int]], seconds: float
) -> dict[str, Any]:
    """What is told of a round: means over all patches, and each host's own."""
    hosts = sorted(found)
    trained, tested = ([rows[host][name] for host in hosts] for name in ("train_rows", "test_rows"))
    means = {
        name: float(np.average([found[host][name] for host in hosts], weights=trained if name == "loss" else tested))
        for name in MEASURES
    }
    sites = [{"host": host, **rows[host], **found[host]} for host in hosts]
    return {"round": number, "train_rows": sum(trained), "test_rows": sum(tested), **means, "hosts": len(hosts),
            "seconds": round(seconds, 3), "sites": sites}  # fmt: skip


def _fits(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
