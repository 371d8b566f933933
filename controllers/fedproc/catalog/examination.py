"""The check of a tool that a stranger sent, in a process of its own: ``python -m fedproc.catalog.examination``.

What a person writes into a description may take for ever (a pattern), or all memory (an archive); neither may be the
API's time or memory.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedproc.catalog.authoring import defects_of
from fedproc.catalog.bundle import unpack
from fedproc.catalog.folder import MAX_BYTES
from fedproc.catalog.imports import unknown_imports
from fedproc.catalog.signing import canonical_content, tool_digest
from fedproc.common.errors import FedprocError, InvalidInputError, UnavailableError
from fedproc.contract.ids import is_safe_path
from fedproc.contract.tool.checks import hints
from fedproc.contract.tool.tool import Manifest

_SECONDS = 30
"""of a CPU"""
_WALL_SECONDS = 90
_WAIT_SECONDS = 5
_AT_ONCE = threading.BoundedSemaphore(2)
_MEMORY = 2 << 30
_PIECE = 1 << 20
_SHOWN = 50
"""findings, and faults"""


def examine(manifest: str, bundle: bytes) -> dict[str, Any]:
    """``id``, ``version``, ``digest``, ``name``, ``findings`` (lines), and the ``manifest`` as it was understood.

    Raises :class:`InvalidInputError` that names what is wrong, also where it takes too much time or memory, and
    :class:`UnavailableError` while others are examined.
    """
    with tempfile.TemporaryDirectory(prefix="fedproc-examination-") as folder:
        (Path(folder) / "manifest").write_text(manifest)
        (Path(folder) / "bundle").write_bytes(bundle)
        command = [sys.executable, "-m", __name__, folder]
        try:
            with _turn():
                done = subprocess.run(command, capture_output=True, timeout=_WALL_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise _too_much() from error
    if done.returncode != 0:
        raise _too_much()
    found: dict[str, Any] = json.loads(done.stdout)
    if "wrong" in found:
        raise InvalidInputError(found["wrong"], code="tool")
    return found


@contextmanager
def _turn() -> Iterator[None]:
    """Whoever waits holds a thread of the API: not for long."""
    if not _AT_ONCE.acquire(timeout=_WAIT_SECONDS):
        raise UnavailableError("other tools are being checked: send this one again in a minute")
    try:
        yield
    finally:
        _AT_ONCE.release()


def _too_much() -> InvalidInputError:
    text = f"the check of this tool takes more than {_SECONDS} s or too much memory: look at its patterns and its sizes"
    return InvalidInputError(text, code="tool.costly")


def _examined(folder: Path) -> dict[str, Any]:
    manifest = Manifest.model_validate_json((folder / "manifest").read_text())
    packed = (folder / "bundle").read_bytes()
    _check_bounds(manifest, packed)
    unpack(packed, manifest, folder / "source")
    if defects := defects_of(manifest, folder / "source"):
        return {"wrong": "\n".join(defect.text for defect in defects[:_SHOWN])}
    findings = [*hints(manifest.tool.tasks), *unknown_imports(manifest, folder / "source")]
    return {
        "id": manifest.tool.id,
        "version": manifest.tool.version,
        "digest": tool_digest(manifest),
        "name": manifest.tool.biotools.name,
        "findings": findings[:_SHOWN],
        "manifest": canonical_content(manifest),
    }


def _check_bounds(manifest: Manifest, packed: bytes) -> None:
    if unsafe := [file.path for file in manifest.files if not is_safe_path(file.path)]:
        raise InvalidInputError(f"{unsafe[0]!r} is no path of a file within the tool's folder")
    if sum(file.size for file in manifest.files) > MAX_BYTES:
        raise InvalidInputError(f"the tool's files have more than {MAX_BYTES} bytes")
    total = 0
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as unpacked:
        while piece := unpacked.read(_PIECE):
            total += len(piece)
            if total > 2 * MAX_BYTES:
                raise InvalidInputError(f"the packed source becomes larger than {2 * MAX_BYTES} bytes")


def _main(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    try:
        found = _examined(folder)
    except FedprocError as error:
        found = {"wrong": error.message}
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:_SHOWN]]
        found = {"wrong": "\n".join(lines)}
    except (OSError, EOFError, ValueError, RecursionError) as error:
        found = {"wrong": f"it cannot be read: {error}"}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
