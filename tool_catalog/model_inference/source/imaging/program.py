"""How a task of these tools runs and ends: 0 done; 1 the output cannot be written; 2 the input cannot be used."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imaging.faults import Fault


def run_task(tool: str, options: argparse.Namespace, run: Callable[[argparse.Namespace], None]) -> int:
    """The exit code; the last line of standard error says why, and nothing of any person."""
    try:
        run(options)
    except Fault as fault:
        print(f"{tool} {options.task}: {fault}", file=sys.stderr)
        return fault.exit_code
    except MemoryError:
        print(f"{tool} {options.task}: an image is larger than the job's memory", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{tool} {options.task}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in ``path``; ``what`` names it in messages. Raises :class:`Fault`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Fault(f"{what}: {path.name} cannot be read as JSON") from error
    if not isinstance(found, dict):
        raise Fault(f"{what}: must be a JSON object")
    return found


def answers(sites: Path, name: str) -> dict[str, dict[str, Any]]:
    """What each host sent: the file ``name`` in a folder of the host's name. Raises :class:`Fault` if there is none."""
    found = {path.parent.name: read_object(path, path.parent.name) for path in sorted(sites.glob(f"*/{name}"))}
    if not found:
        raise Fault(f"no site has sent {name}")
    return found


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
