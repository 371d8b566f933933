"""A tool's task as a program: what it says and with which code it ends.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used; 3 the computation failed because a host,
an answer or the connection was lost, or it did not converge. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tables.problems import TableError

from .faults import Fault


def run_task(tool: str, options: argparse.Namespace, task: Callable[[argparse.Namespace], None]) -> int:
    """Run ``task``; returns the exit code."""
    host = getattr(options, "host", None)
    where = f"{tool} {options.task}: " + (f"{host}: " if host else "")
    try:
        task(options)
    except Fault as fault:
        print(f"{where}{fault}", file=sys.stderr)
        return fault.exit_code
    except TableError as fault:
        for line in fault.lines():
            print(f"{where}{line}", file=sys.stderr)
        return 2
    except OSError as fault:
        print(f"{where}{fault.filename or 'output'}: {fault.strerror}", file=sys.stderr)
        return 1
    return 0
