"""The catalogue's tools as the programs they are."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.warm.python import warm_command


@dataclass(frozen=True)
class ToolProgram:
    """A tool's ``main.py`` and what runs it."""

    folder: Path
    python: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    by_task: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """instead of ``python``, by the task that is the first argument: where a task has a lock file of its own"""
    warm: bool = False
    """whether its processes are forked from one that has its libraries (``support/warm``): none of them has threads"""

    def command(self, *arguments: str | Path) -> list[str]:
        python = self.by_task.get(str(arguments[0]), self.python) if arguments else self.python
        program = (str(self.folder / "source" / "main.py"), *map(str, arguments))
        return warm_command(*python, self.variables(), *program) if self.warm else [*python, *program]

    def variables(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **self.environment}

    def run(self, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
