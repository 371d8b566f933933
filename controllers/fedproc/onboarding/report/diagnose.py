"""Packs what a helper needs to understand a host into one archive, with secrets taken out.

Key files are never opened for it. Everything else passes :mod:`fedproc.onboarding.report.redact` before it is packed.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from fedproc.onboarding.model.report import Report, to_json
from fedproc.onboarding.report import page, text
from fedproc.onboarding.report.output import write
from fedproc.onboarding.report.redact import redact

SECONDS = 8.0
LARGEST_PART = 1 << 20
COMMANDS: dict[str, tuple[str, ...]] = {
    "kernel": ("uname", "-a"),
    "kernel-log": ("dmesg", "--ctime", "--level", "emerg,alert,crit,err,warn"),
    "processors": ("lscpu",),
    "memory": ("free", "--bytes"),
    "filesystems": ("df", "--block-size=1", "--print-type"),
    "block-devices": ("lsblk", "--bytes"),
    "addresses": ("ip", "address"),
    "routes": ("ip", "route", "show", "table", "all"),
    "clock": ("timedatectl", "show"),
    "gpus": ("nvidia-smi", "--query"),
    "pci": ("lspci", "-nnk"),
    "docker": ("docker", "info"),
    "podman": ("podman", "info"),
    "apptainer": ("apptainer", "--version"),
    "openssl": ("openssl", "version", "-a"),
    "services": ("systemctl", "status", "--no-pager", "--full", "fedproc*"),
    "log": ("journalctl", "--no-pager", "--lines=2000", "--unit=fedproc*"),
}
FILES = (
    "/etc/os-release",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/proc/meminfo",
    "/proc/self/cgroup",
    "/proc/driver/nvidia/version",
)
VARIABLES = (
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "DOCKER_HOST",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "LANG",
    "PATH",
)
NOTE = """What is in this archive, and what is not

It was made by the host check for whoever helps with this host. Taken out, wherever they were seen: private keys,
tokens, passwords (also in addresses of proxies), Authorization headers. Key files were not opened. It does contain
names and addresses of this host and its network. Look through it before you send it.

"""


def pack(report: Report, settings: Path | None, output: Path | None) -> Path:
    """Write the archive (mode 0600) and return its path.

    Raises :class:`fedproc.onboarding.report.output.OutputError`.
    """
    path = output or Path(default_name(report))
    parts = {name: redact(content)[:LARGEST_PART] for name, content in _gather(report, settings).items()}
    listing = "".join(f"{name}  {len(content.encode())} bytes\n" for name, content in sorted(parts.items()))
    write(path, _archive({"READ-ME-FIRST.txt": NOTE + listing, **parts}, report.time), mode=0o600)
    return path


def default_name(report: Report) -> str:
    """``fedproc-diagnose-HOST-20250131T120000.tar.gz``."""
    host = "".join(c if c.isalnum() or c in "-_" else "-" for c in report.host) or "host"
    return f"fedproc-diagnose-{host}-{datetime.fromisoformat(report.time):%Y%m%dT%H%M%S}.tar.gz"


def _gather(report: Report, settings: Path | None) -> dict[str, str]:
    style = text.Style(width=100)
    parts = {
        "report.txt": text.render(report, style),
        "report.json": json.dumps(to_json(report), indent=2),
        "report.html": page.render(report),
        "environment.txt": "".join(f"{name}={value}\n" for name, value in _environment()),
    }
    parts |= {f"files/{Path(name).name}": _read(Path(name)) for name in FILES}
    if settings is not None:
        parts["settings.toml"] = _read(settings)
    with ThreadPoolExecutor(max_workers=len(COMMANDS)) as pool:
        outputs = pool.map(_run, COMMANDS.values())
    return parts | {f"commands/{name}.txt": output for name, output in zip(COMMANDS, outputs, strict=True)}


def _environment() -> list[tuple[str, str]]:
    names = {*VARIABLES, *map(str.lower, VARIABLES)}
    return sorted((name, value) for name, value in os.environ.items() if name in names)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as source:
            return source.read(LARGEST_PART).decode("utf-8", "replace")
    except OSError as error:
        return f"(cannot be read: {error.strerror})\n"


def _run(command: tuple[str, ...]) -> str:
    head = f"$ {' '.join(command)}\n"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return f"{head}({command[0]} is not installed on this machine)\n"
    except subprocess.TimeoutExpired:
        return f"{head}(no end within {SECONDS:g} s)\n"
    except OSError as error:
        return f"{head}(cannot be run: {error.strerror})\n"
    return f"{head}{done.stdout.decode('utf-8', 'replace')}(exit code {done.returncode})\n"


def _archive(parts: dict[str, str], time: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in parts.items():
            data = content.encode()
            entry = tarfile.TarInfo(f"fedproc-diagnose/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(datetime.fromisoformat(time).timestamp())
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
