"""Artefacts of a job on their way to other hosts: sealed once, encrypted once, sent once, whatever is restarted.

Encrypted anew, the same file has other bytes, which the centre refuses for a file that it has. So what was encrypted is
kept until a receipt says that it was sent, and the receipt until the job's folder goes. ``encrypted`` and ``sent`` in
the job's folder hold a folder for each host, and in it what the sealed copy holds. At most one encrypted file is on the
disk at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedproc.common.errors import SystemFaultError
from fedproc.common.files import replacing, write_atomically
from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.task import Task
from fedproc.contract.wire.artefacts import encrypt_file
from fedproc.contract.wire.messages import Output
from fedproc.site.jobs.workspace import Workspace


def folder_of(workspace: Workspace) -> Path:
    """Where the sealed copy lies that is made when a service is ready."""
    return workspace.root / "artefacts"


def begun(workspace: Workspace) -> bool:
    """Whether a service's artefacts were sealed, so that some may have been sent."""
    return _hashes_file(workspace).exists()


def seal_once(task: Task, workspace: Workspace, flag: StopFlag | None = None) -> dict[str, str]:
    """Seal what peers need now, unless that was done before: sha256 by path, as :meth:`Workspace.seal` has them."""
    kept = _hashes_file(workspace)
    if kept.exists():
        found: dict[str, str] = json.loads(kept.read_bytes())
        return found
    wanted = [output for output in task.outputs if output.artefact_for]
    hashes = workspace.seal(wanted, folder_of(workspace), flag)
    write_atomically(kept, json.dumps(hashes).encode())
    return hashes


def _hashes_file(workspace: Workspace) -> Path:
    return workspace.root / "artefacts.json"


def changed(name: str) -> SystemFaultError:
    """Of a sealed file that has other bytes than when it was sealed."""
    return SystemFaultError("a sealed file was changed after it was sealed; nothing was sent", at_host=name)


class Parcel:
    """One sealed file for one host. Methods block; call them in a thread."""

    def __init__(self, root: Path, path: str, recipient: str) -> None:
        self._recipient = recipient
        self.encrypted = root / "encrypted" / recipient / path
        self._receipt = root / "sent" / recipient / path

    def sent(self) -> Output | None:
        """What was sent already."""
        return Output.model_validate_json(self._receipt.read_bytes()) if self._receipt.exists() else None

    def encrypt(self, source: Path, digest: str, key: Mapping[str, Any] | None, flag: StopFlag | None = None) -> None:
        """Have ``encrypted`` hold ``source``, whose sha256 is ``digest``, for the owner of ``key``.

        Raises :class:`SystemFaultError`.
        """
        if self.encrypted.exists():
            return
        if key is None:
            raise SystemFaultError(f"the order gives no key of host {self._recipient}, which is to get an artefact")
        self.encrypted.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.encrypted) as partial:
            if encrypt_file(source, partial, key, (flag or StopFlag()).check) != digest:
                raise changed(source.name)

    def keep(self, output: Output) -> None:
        """It was sent: what was encrypted is needed no more."""
        self._receipt.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._receipt, output.model_dump_json().encode())
        self.encrypted.unlink(missing_ok=True)
