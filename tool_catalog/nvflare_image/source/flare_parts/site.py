"""One site's side, as NVFLARE's executor: it trains and measures as often as was agreed, and tells arrays and means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import network
import numpy as np
from network import Array
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from patches.faults import Broken
from patches.images import SiteImages, read_site
from patches.measures import measure
from request import Request

from . import job


class SitePart(Executor):
    """Adam begins anew in every round, as its moments stay where they were made."""

    def __init__(self) -> None:
        super().__init__()
        self._most = dict.fromkeys((job.TRAIN, job.VALIDATE), 0)
        self._done = dict(self._most)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        if event_type != EventType.START_RUN:
            return
        self._settings = job.settings()
        self._request = Request(**self._settings["request"])
        folder = Path(self._settings["datasets"])
        self._site: SiteImages = read_site(folder, self._request.size, self._request.every, self._request.min_persons)
        self._most = dict.fromkeys(self._most, self._request.rounds)

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        try:
            told = self._do(task_name, shareable)
        except Broken as fault:
            job.refuse(str(fault))
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        Path(self._settings["alive"]).touch()
        return FLModelUtils.to_shareable(told)

    def _do(self, task: str, shareable: Shareable) -> FLModel:
        if task not in self._most:
            raise Broken("the server asks for a task that this tool does not have: nothing is told")
        if self._done[task] == self._most[task]:
            raise Broken(f"the server asks for more than the {self._most[task]} tasks {task} that were agreed")
        self._done[task] += 1
        arrays = self._model(shareable)
        if task == job.VALIDATE:
            found = measure(arrays, self._site)
            if self._done[task] == self._most[task]:
                Path(self._settings["finished"]).touch()
            return FLModel(metrics=vars(found))
        trained = train(arrays, self._site, self._request, self._done[task])
        print(f"round {self._done[task]}: trained on {len(self._site.train.labels)} rows", flush=True)
        return FLModel(params_type=ParamsType.FULL, params=dict(zip(network.NAMES, trained, strict=True)))

    def _model(self, shareable: Shareable) -> list[Array]:
        try:
            return arrays_of(FLModelUtils.from_shareable(shareable).params, self._request.size)
        except Exception as fault:  # whatever NVFLARE makes of the message
            raise Broken("the server sent a model of another shape or type, or one that is not finite") from fault


def arrays_of(params: Any, size: int) -> list[Array]:
    """The arrays of the network of ``size`` pixels, in their order. Raises :class:`Broken` for anything else."""
    shapes = {name: array.shape for name, array in zip(network.NAMES, network.start(size, 0), strict=True)}
    if not isinstance(params, dict) or params.keys() != shapes.keys():
        raise Broken("a model has other arrays than the network")
    for name, shape in shapes.items():
        array = params[name]
        fits = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == np.float32
        if not fits or not np.isfinite(array).all():
            raise Broken(f"a model's {name} has another shape or type, or numbers that are not finite")
    return [params[name] for name in network.NAMES]


def train(arrays: list[Array], site: SiteImages, request: Request, number: int) -> list[Array]:
    """Epochs over the patches in an order that follows from seed and round."""
    learned, patches = [array.copy() for array in arrays], site.train
    adam, chance = network.Adam(request.learning_rate), np.random.default_rng([request.seed, number])
    for _ in range(request.local_epochs):
        order = chance.permutation(len(patches.labels))
        for start in range(0, len(order), request.batch):
            batch = order[start : start + request.batch]
            network.train_batch(learned, patches.images[batch], patches.labels[batch], adam)
    return learned
