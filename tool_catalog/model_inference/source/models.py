"""The model's file: found, compared with the sha256 that was asked for, and asked for probabilities.

ONNX runs in onnxruntime on the CPU, from the bytes that were hashed. Arrays (npz) are those of our own trainings:
``flower-logistic`` on tables, ``flower-image`` on lesions. Nothing with code of Python in it is loaded.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import network
import numpy as np
import numpy.typing as npt
from imaging.faults import Fault
from request import Request

Array = npt.NDArray[np.float32]
AT_ONCE = 256
LARGEST = 512 << 20
"""bytes of a model, packed and unpacked"""


@dataclass(frozen=True)
class Model:
    """``predict`` takes records (first axis) and gives each one's probability; ``features`` are columns it names."""

    format: str
    predict: Callable[[Array], npt.NDArray[np.float64]]
    features: tuple[str, ...] = ()


def load(folder: Path, request: Request) -> Model:
    """The one file in the folder. Raises :class:`Fault` for another file than was asked for, or what is no model."""
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if len(files) != 1:
        raise Fault("model: one file is wanted")
    if files[0].stat().st_size > LARGEST:
        raise Fault(f"model: larger than {LARGEST >> 20} MiB")
    content = files[0].read_bytes()
    if hashlib.sha256(content).hexdigest() != request.sha256:
        raise Fault("model: its sha256 is not the one that was asked for (sha256)")
    return _arrays(content, request) if content[:4] == b"PK\x03\x04" else _onnx(content, request)


# -- ONNX -----------------------------------------------------------------------------------------------


def _onnx(content: bytes, request: Request) -> Model:
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
    except Exception as error:  # whatever its bytes are
        raise Fault("model: no ONNX model with one input that onnxruntime can run by itself") from error
    if taken.type not in ("tensor(float)", "tensor(double)"):
        raise Fault("model: its input is no tensor of floats")
    fixed = taken.shape[0] if taken.shape and isinstance(taken.shape[0], int) and taken.shape[0] > 0 else None
    kind = np.float64 if taken.type == "tensor(double)" else np.float32

    def predict(records: Array) -> npt.NDArray[np.float64]:
        given = _as_input(records, taken.shape).astype(kind)
        size = fixed or AT_ONCE
        parts = [_filled(given[at : at + size], fixed) for at in range(0, len(given), size)]
        try:
            told = [session.run(None, {taken.name: part}) for part in parts]
        except Exception as error:  # another shape than it takes, or a fault within
            raise Fault("model: does not run on these inputs: other columns or size than it was made for?") from error
        return probabilities_of([_floats(outputs) for outputs in told], len(records), request)

    return Model("onnx", predict)


def _as_input(records: Array, shape: Sequence[Any]) -> Array:
    """Images as channels x rows x columns, or with the channels last, and as many as the model takes."""
    if records.ndim != 4 or len(shape) != 4:
        return records
    last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    channels = shape[3] if last else shape[1]
    chosen = records[:, :1] if channels == 1 else records
    return np.moveaxis(chosen, 1, 3) if last else chosen


def _filled(part: Array, size: int | None) -> Array:
    """With its last record again, to the number of records that the model takes at once."""
    short = (size or len(part)) - len(part)
    return np.concatenate([part, np.repeat(part[-1:], short, axis=0)]) if short else part


def _floats(outputs: Sequence[Any]) -> npt.NDArray[np.float64]:
    """The last output of floats, records x columns; of maps their values by rising key."""
    for output in reversed(outputs):
        if isinstance(output, list) and output and isinstance(output[0], dict):
            return np.array([[each[key] for key in sorted(each)] for each in output], dtype=np.float64)
        if isinstance(output, np.ndarray) and np.issubdtype(output.dtype, np.floating) and output.ndim in (1, 2):
            return np.asarray(output.reshape(len(output), -1), dtype=np.float64)
    raise Fault("model: has no output of floats, one row to a record")


# -- arrays of our own trainings ------------------------------------------------------------------------


def _arrays(content: bytes, request: Request) -> Model:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files} if unpacked <= LARGEST else {}
    except Exception as error:  # whatever its bytes are
        raise Fault("model: no npz of numbers alone") from error
    if request.kind == "table" and {"features", "coef", "intercept", "mean", "scale"} <= arrays.keys():
        return _logistic(arrays)
    if request.kind == "lesions" and set(network.NAMES) <= arrays.keys():
        return _network([np.asarray(arrays[name], dtype=np.float32) for name in network.NAMES], request)
    raise Fault(f"model: no arrays of a training that predicts on {request.kind} (flower-logistic, flower-image)")


def _logistic(arrays: dict[str, Any]) -> Model:
    features = tuple(str(name) for name in np.atleast_1d(arrays["features"]))
    values = [np.asarray(arrays[name], dtype=np.float64).reshape(-1) for name in ("coef", "mean", "scale")]
    intercept = np.asarray(arrays["intercept"], dtype=np.float64).reshape(-1)
    if any(len(value) != len(features) for value in values) or len(intercept) != 1:
        raise Fault("model: its arrays are not as many as its features")
    coef, mean, scale = values

    def predict(records: Array) -> npt.NDArray[np.float64]:
        scores = ((records.astype(np.float64) - mean) / scale) @ coef + intercept[0]
        return probabilities_of([scores[:, None]], len(records), Request("", output="logit"))

    return Model("npz", predict, features)


def _network(arrays: list[Array], request: Request) -> Model:
    wanted = [array.shape for array in network.start(request.size, 0)]
    if [array.shape for array in arrays] != wanted:
        raise Fault(f"model: its arrays are not those of a network of {request.size} pixels (size)")

    def predict(records: Array) -> npt.NDArray[np.float64]:
        parts = [network.scores(arrays, records[at : at + AT_ONCE]) for at in range(0, len(records), AT_ONCE)]
        scores = [np.asarray(part, dtype=np.float64) for part in parts]
        return probabilities_of(scores, len(records), Request("", output="logit", column=1))

    return Model("npz", predict)


def probabilities_of(
    parts: Sequence[npt.NDArray[np.float64]], records: int, request: Request
) -> npt.NDArray[np.float64]:
    """One probability to a record from rows of probabilities or logits. Raises :class:`Fault` for what gives none."""
    found = np.concatenate(parts)[:records]
    if len(found) != records or not -found.shape[1] <= request.column < found.shape[1]:
        raise Fault("model: does not give one row to a record, or not so many columns (output_column)")
    if not np.isfinite(found).all():
        raise Fault("model: gives numbers that are not finite")
    if request.output == "logit":
        found = _of_logits(found)
    chosen = found[:, request.column]
    if ((chosen < -1e-6) | (chosen > 1 + 1e-6)).any():
        raise Fault("model: gives what is no probability between 0 and 1 (output: logit?)")
    return np.clip(chosen, 0, 1)


def _of_logits(found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sigmoid of one column, softmax of several."""
    both = np.column_stack([np.zeros(len(found)), found]) if found.shape[1] == 1 else found
    raised = np.exp(both - both.max(axis=1, keepdims=True))
    return np.asarray((raised / raised.sum(axis=1, keepdims=True))[:, -found.shape[1] :])
