"""One message of a connection against what its tool declares of it, in a process of its own.

Nobody can be asked about a message: what a rule refuses is refused, and what a person would look at in an output goes.
"""

from __future__ import annotations

import json
import time

from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.messages import MessageDecl
from fedproc.site.policy.engine.apart import Limits, ran
from fedproc.site.policy.engine.known import Known, needed_for

_NOT_CHECKED = "it could not be checked: the rules ended, or took too long or too much memory"


class RefusedMessageError(Exception):
    """It is not what its tool declares; the text is for the site's log: it has names of fields, and no value."""


def checked(declared: MessageDecl, raw: bytes, floor: int, known: Known, flag: StopFlag) -> bytes:
    """The message as it may go: the same document, as one JSON library writes it; blocks.

    Raises :class:`RefusedMessageError`, StoppedError once ``flag`` is set, and :class:`OSError`.
    """
    limits = Limits()
    written = declared.model_dump(mode="json")
    asked = {
        "message": written,
        "floor": floor,
        "known": {name: list(known.values(name)) for name in needed_for(json.dumps(written)) & known.sources.keys()},
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_bytes,
    }
    question = json.dumps(asked).encode() + b"\n" + raw
    code, answer = ran(question, flag, time.monotonic() + limits.wall_seconds)
    head, end, body = answer.partition(b"\n")
    if code != 0 or not end:
        raise RefusedMessageError(_NOT_CHECKED)
    if refused := json.loads(head)["refused"]:
        raise RefusedMessageError(refused)
    return body
