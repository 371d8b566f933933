"""A job's folders on the host, and the sealed copy of what it wrote.

``STATE/jobs/JOB/`` holds ``work`` (the job's writable folder), ``input`` (what is staged in for it), ``spec``
(parameters and hosts), ``connections`` (sockets: ``out`` are the
orchestrator's, in ``in`` the job makes its own), ``sealed`` (the copy taken after its end) and the mark ``laid-out``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fedproc.common.errors import SystemFaultError, ToolFaultError
from fedproc.common.tasks import StopFlag
from fedproc.contract.ids import is_safe_path
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.site.executors.base import INPUT, WORK
from fedproc.site.jobs.json_output import check_numbers

SPEC = PurePosixPath("/fedproc/spec")
MAX_FILES = 10_000
_CHUNK = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_THE_TOOL = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV,
    errno.ENAMETOOLONG,
})  # fmt: skip
"""what a tool can make of its folder; any other error in reading it is this host's: its disk, its memory"""
_FOR_A_MOMENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ESTALE})
"""ESTALE: its writer, on another machine that shares the disk, has replaced the file"""


class CopyError(SystemFaultError):
    """The copy of an output could not be written: that is this host's fault, and never its tool's."""

    code = "system_fault.os"

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the copy of its outputs cannot be written: {error.strerror}; look at this host's disk")
        self.errno = error.errno


class ReadError(SystemFaultError):
    """What a tool wrote cannot be read from this host's disk: that is never the tool's fault."""

    code = "system_fault.os"

    def __init__(self, error: OSError) -> None:
        text = f"what the tool wrote cannot be read: {error.strerror}; look at this host's disk"
        super().__init__(text, at_host=f"{error.filename!a:.200}")


class Workspace:
    """The folders of one job. Methods block; call them in a thread."""

    def __init__(self, jobs: Path, job: str) -> None:
        self.root = jobs / job
        self.work = self.root / "work"
        self.input = self.root / "input"
        self.spec = self.root / "spec"
        self.outgoing = self.root / "connections" / "out"
        self.incoming = self.root / "connections" / "in"
        self.sealed = self.root / "sealed"
        self._staged_in = self.root / "laid-out"

    def make(self, parameters: dict[str, Any], hosts: dict[str, Any]) -> None:
        """Make the folders afresh; what an earlier attempt left is removed."""
        self.remove()
        _for_its_owner(self.root)
        for folder in (self.work / "output", self.input, self.spec, self.outgoing, self.incoming):
            folder.mkdir(parents=True)
        (self.spec / "parameters.json").write_text(json.dumps(parameters))
        self.name_hosts(hosts)

    def name_hosts(self, hosts: Mapping[str, Sequence[str]]) -> None:
        """Write down the experiment's hosts by task, for the tool."""
        self.spec.mkdir(parents=True, exist_ok=True)
        (self.spec / "hosts.json").write_text(json.dumps(hosts))

    def mark_staged_in(self) -> None:
        """All that the job needs is there: from now on it may be started, and its folders are its own."""
        self._staged_in.touch()

    def is_staged_in(self) -> bool:
        """Whether :meth:`mark_staged_in` was called, by this daemon or by one before it."""
        return self._staged_in.exists()

    def written(self) -> int:
        """Bytes on the disk; what cannot be read, or goes meanwhile, is left out."""
        total = 0
        for root, _, names in os.walk(self.root):
            for name in names:
                with contextlib.suppress(OSError):
                    total += (Path(root) / name).lstat().st_blocks * 512
        return total

    def remove(self) -> None:
        """Remove everything; nothing happens if it is gone already."""
        if self.root.exists():
            _remove(self.root)

    def seal(self, outputs: Iterable[OutputDecl], target: Path, flag: StopFlag | None = None) -> dict[str, str]:
        """Copy the given outputs to ``target``: regular files only, no link followed.

        Returns sha256 by path under ``target`` (``<output>/<path>``). Raises :class:`ToolFaultError` naming the
        output that is missing, too large, not a regular file, closed to its reader, or JSON with a number that JSON
        has not; :class:`CopyError` and :class:`ReadError` where this host's disk is at fault; StoppedError, within a
        MiB, once ``flag`` is set.
        """
        flag = flag or StopFlag()
        partial = target.with_name(target.name + ".part")
        for folder in (partial, target):
            if folder.exists():
                shutil.rmtree(folder)
        hashes: dict[str, str] = {}
        base = os.open(self.work, _FOLDER)
        try:
            for output in outputs:
                hashes |= _copy_output(base, output, partial / output.name, flag)
                check_numbers(output, partial / output.name)
        except CopyError:
            shutil.rmtree(partial, ignore_errors=True)  # who waits for room takes none
            raise
        finally:
            os.close(base)
        partial.mkdir(exist_ok=True)
        partial.rename(target)
        return hashes

    def read_work(self, path: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of a file below the work folder, no link followed; empty if it is not there.

        Raises :class:`ReadError`.
        """
        base = os.open(self.work, _FOLDER)
        try:
            with os.fdopen(_open_below(base, path, _OPEN), "rb") as source:
                if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                    return b""
                return os.pread(source.fileno(), size, offset)
        except OSError as error:
            if error.errno not in _OF_THE_TOOL | _FOR_A_MOMENT:
                raise ReadError(error) from error
            return b""  # the tool has not written it, or made something else of it
        finally:
            os.close(base)

    def probe_result(self, file: str) -> Any:
        """The JSON of the tool's own status file under the output folder. Raises :class:`ToolFaultError`, ReadError."""
        base = os.open(self.work, _FOLDER)
        try:
            descriptor = _open_below(base, "output/" + file, _OPEN)
            with os.fdopen(descriptor, "rb") as source:
                return json.loads(source.read(_CHUNK))
        except OSError as error:
            if error.errno not in _OF_THE_TOOL:
                raise ReadError(error) from error
            raise ToolFaultError(f"status file {file}: {error.strerror}", code="tool_fault.status") from error
        except (ValueError, RecursionError) as error:
            raise ToolFaultError(f"status file {file} is no JSON", code="tool_fault.status") from error
        finally:
            os.close(base)


def _for_its_owner(folder: Path) -> None:
    """Other users of this machine get at no job's folder, nor see which there are.

    The folder of all may be passed: an executor whose jobs are an ordinary user's gives him the one of his job.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o711)
    folder.mkdir(mode=0o700)


def _remove(folder: Path) -> None:
    """A tool may have nested folders deeper than the standard library can follow, or closed them to their owner."""
    try:
        shutil.rmtree(folder)
    except (RecursionError, OSError):
        subprocess.run(["/bin/chmod", "--recursive", "u+rwX", "--", str(folder)], check=False, capture_output=True)
        subprocess.run(["/bin/rm", "-rf", "--", str(folder)], check=True)


def placeholders(task: Task) -> dict[str, str]:
    """Where a job finds its own folders and files, as seen from inside."""
    return {
        "input": str(INPUT),
        "output": str(WORK / "output"),
        "work": str(WORK),
        "parameters": str(SPEC / "parameters.json"),
        "hosts": str(SPEC / "hosts.json"),
        "metrics": str(WORK / "metrics.jsonl"),
        **{f"port.{port.name}": str(port.port) for port in task.ports},
    }


def _copy_output(base: int, output: OutputDecl, target: Path, flag: StopFlag) -> dict[str, str]:
    left = int(output.max_mb * 1_000_000)
    hashes: dict[str, str] = {}
    try:
        for path in _files(base, output):
            flag.check()
            if len(hashes) >= MAX_FILES:
                raise ToolFaultError(
                    f"output {output.name}: more than {MAX_FILES} files", code="tool_fault.output_size"
                )
            name = path.removeprefix("output/")
            digest, size = _copy_file(base, path, target / name, left, output, flag)
            left -= size
            hashes[f"{output.name}/{name}"] = digest
    except FileNotFoundError as error:
        if output.optional:
            return {}
        raise ToolFaultError(
            f"output {output.name}: the tool did not write {output.path} below {{output}}",
            code="tool_fault.output_missing",
        ) from error
    except OSError as error:
        raise _fault_of(output, error) from error
    return hashes


def _fault_of(output: OutputDecl, error: OSError) -> ToolFaultError | ReadError:
    if error.errno not in _OF_THE_TOOL:
        return ReadError(error)
    closed = isinstance(error, PermissionError)
    what = "or something in it, cannot be read" if closed else "is no regular file or folder of them"
    return ToolFaultError(
        f"output {output.name}: {output.path}{',' if closed else ''} {what} ({error.strerror})",
        code="tool_fault.output_kind",
        at_host=f"{error.filename!a:.200}",
    )


def _files(base: int, output: OutputDecl) -> Iterator[str]:
    path = "output/" + output.path
    if not output.folder:
        yield path
        return
    folder = _open_below(base, path, _FOLDER)
    try:
        yield from _below(folder, PurePosixPath(path), output)
    finally:
        os.close(folder)


def _below(folder: int, path: PurePosixPath, output: OutputDecl) -> Iterator[str]:
    """All in ``folder`` that is no folder. Nothing is left out: what cannot be looked into raises OSError."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        inside = path / entry.name
        _check_name(output, inside)  # of folders, too: each depth takes a descriptor
        if not entry.is_dir(follow_symlinks=False):
            yield inside.as_posix()
            continue
        with _inner(folder, entry.name, inside) as inner:
            yield from _below(inner, inside, output)


@contextlib.contextmanager
def _inner(folder: int, name: str, path: PurePosixPath) -> Iterator[int]:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield inner
    finally:
        os.close(inner)


def _check_name(output: OutputDecl, path: PurePosixPath) -> None:
    """Raises :class:`ToolFaultError`; the name, which the tool chose and which may be any bytes, stays at the host."""
    if not is_safe_path(path.as_posix()):
        raise ToolFaultError(
            f"output {output.name}: a file in it has no acceptable name (UTF-8, without control characters and"
            " backslashes, up to 128 characters, 255 with its folders)",
            code="tool_fault.output_name",
            at_host=f"{path.name!a:.200}",
        )


def _open_below(base: int, path: str, flags: int) -> int:
    """Open ``path`` step by step, so that no component of it may be a link."""
    *folders, last = path.split("/")
    current = os.dup(base)
    try:
        for name in folders:
            inner = os.open(name, _FOLDER, dir_fd=current)
            os.close(current)
            current = inner
        return os.open(last, flags, dir_fd=current)
    finally:
        os.close(current)


def _copy_file(base: int, path: str, target: Path, left: int, output: OutputDecl, flag: StopFlag) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(_open_below(base, path, _OPEN), "rb") as source:
        if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            raise ToolFaultError(
                f"output {output.name}: it, or what is in it, is not a regular file",
                code="tool_fault.output_kind",
                at_host=path,
            )
        with _new_file(target) as write:
            while chunk := source.read(_CHUNK):
                flag.check()
                size += len(chunk)
                if size > left:
                    raise ToolFaultError(
                        f"output {output.name}: larger than the declared {output.max_mb} MB",
                        code="tool_fault.output_size",
                    )
                digest.update(chunk)
                write(chunk)
    return digest.hexdigest(), size


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[Callable[[bytes], object]]:
    """Its unbuffered writing. Raises :class:`CopyError`: no error of the copy is taken for one of its source."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = target.open("xb", buffering=0)
    except OSError as error:
        raise CopyError(error) from error

    def write(chunk: bytes) -> None:
        left = memoryview(chunk)
        try:
            while left:
                left = left[copy.write(left) :]
        except OSError as error:
            raise CopyError(error) from error

    with copy:
        yield write
