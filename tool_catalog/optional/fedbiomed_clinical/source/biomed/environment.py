"""Whether Fed-BioMed can run here, and how a task ends that has threads of its."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import NoReturn

from regression.faults import Fault

NEEDED = "Fed-BioMed 6.4 needs Python 3.10 or 3.11 beside a PyTorch"
CURE = "run the tool in its image, of Debian 12 (docs/demonstrator.md): neither wheels nor newer Pythons have all of it"


def check(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raise Fault saying what is needed, if it is not here."""
    if not (3, 10) <= version < (3, 12):
        raise Fault(f"{NEEDED}, and this is Python {version[0]}.{version[1]}: {CURE}")
    if missing := [name for name in ("fedbiomed", "torch") if importlib.util.find_spec(name) is None]:
        raise Fault(f"{NEEDED}, and there is no {' and no '.join(missing)}: {CURE}")


def leave(code: int) -> NoReturn:
    """End now: gRPC's and Fed-BioMed's threads would keep a task alive whose work is over."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
