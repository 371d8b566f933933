"""Names of things, and the checks that every name from outside goes through."""

from __future__ import annotations

import os
import re
import time
from typing import Annotated

from pydantic import StringConstraints

HOST_PATTERN = r"^[A-Z][A-Z0-9_]{0,30}$"
NAME_PATTERN = r"^[a-z][a-z0-9]*([-_][a-z0-9]+)*$"
TOOL_PATTERN = NAME_PATTERN
JOB_PATTERN = r"^j-[0-9a-v]{26}$"
EXPERIMENT_PATTERN = r"^e-[0-9a-v]{26}$"
FILE_PATTERN = r"^f-[0-9a-v]{26}$"
DATASET_PATTERN = r"^[A-Z][A-Z0-9_]{0,30}:[a-z0-9][a-z0-9._-]{0,63}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
RELATIVE_PATH_PATTERN = r"^(?!/)(?!.*(^|/)\.{1,2}(/|$))(?!.*//)[^\x00-\x1f\x7f\\]{1,255}(?<!/)$"

HostId = Annotated[str, StringConstraints(pattern=HOST_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=48)]
ToolId = Annotated[str, StringConstraints(pattern=TOOL_PATTERN, max_length=64)]
JobId = Annotated[str, StringConstraints(pattern=JOB_PATTERN)]
ExperimentId = Annotated[str, StringConstraints(pattern=EXPERIMENT_PATTERN)]
FileId = Annotated[str, StringConstraints(pattern=FILE_PATTERN)]
DatasetRef = Annotated[str, StringConstraints(pattern=DATASET_PATTERN)]
DatasetId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]

_BASE32 = "0123456789abcdefghijklmnopqrstuv"
_RELATIVE_PATH = re.compile(RELATIVE_PATH_PATTERN)


def new_id(kind: str) -> str:
    """A new id that sorts by time: ``kind``, a dash, 48 bits of milliseconds and 80 random bits.

    ``kind`` is ``j`` (job), ``e`` (experiment) or ``f`` (file). The result is legal as a DNS label, a file
    name and a container name.
    """
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return kind + "-" + "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))


def dns_label(host: str) -> str:
    """The DNS label of a host id (RFC 1035 knows no underscore): lower case, ``_`` becomes ``-``."""
    return host.lower().replace("_", "-")


def is_safe_path(path: str) -> bool:
    """Whether ``path`` is relative, without ``.`` or ``..`` segments, control characters or backslashes, and text.

    A name of a file that is no UTF-8 comes with halves of surrogate pairs, and no message could carry it.
    """
    return (
        _is_text(path)
        and _RELATIVE_PATH.fullmatch(path) is not None
        and all(len(part) <= 128 for part in path.split("/"))
    )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def version_key(version: str) -> tuple[tuple[int, ...], int, str]:
    """Sorts versions; a pre-release comes before its release."""
    numbers, _, pre = version.partition("-")
    return tuple(map(int, numbers.split("."))), 0 if pre else 1, pre
