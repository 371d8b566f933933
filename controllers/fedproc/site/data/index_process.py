"""``python -m fedproc.site.data.index_process``: one pass over a large dataset, in a process of its own.

The orchestrator starts it, so that no dataset, however large or odd, takes processor time or memory from its jobs. It
writes lines of JSON: ``{"looked_at": n}`` while it goes on, and at last ``{"error": [errno, text]}`` or ``{}``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import sys
from pathlib import Path
from typing import Any

from fedproc.common.tasks import StopFlag
from fedproc.site.data.index import DatasetIndex

_MEMORY = 2 << 30


def main() -> None:
    """Make the pass that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="fedproc.site.data.index_process")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--older-than", type=float, default=0.0)
    given = parser.parse_args()
    os.nice(10)
    limit_memory()
    try:
        DatasetIndex(given.index).update(
            given.folder, StopFlag(), lambda count: _say({"looked_at": count}), older_than=given.older_than
        )
        _say({})
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more: the orchestrator has ended
    except OSError as error:
        _say({"error": [error.errno, ": ".join(map(str, filter(None, (error.strerror, error.filename))))]})
    except sqlite3.Error as error:
        _say({"error": [None, str(error)]})


def limit_memory() -> None:
    """A file that would take more is told as one that cannot be read, and the others are read."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
