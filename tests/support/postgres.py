"""A PostgreSQL cluster of the tests' own: in a temporary folder, on a unix socket, gone with the tests.

Use: ``from tests.support.postgres import Postgres`` in a conftest and make a session fixture of
:meth:`Postgres.running`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgres)]
"""for fixtures that give the same on both"""
_READY = b"ready to accept connections"


def _program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not installed: these tests need PostgreSQL (apt-get install postgresql)")
    return path


class Postgres:
    """A running cluster; databases are made in it as they are needed."""

    def __init__(self, socket_folder: Path) -> None:
        self._folder = socket_folder

    def new_database(self, like: str = "template1") -> str:
        """The SQLAlchemy URL of a new database: empty, or a copy of another of that name that nobody uses now."""
        name = f"fedproc_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def close_connections(self, database: str) -> None:
        """Close every connection to that database, as a restart or a firewall does."""
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])

    @classmethod
    @contextmanager
    def running(cls, *, fsync: bool = False) -> Iterator[Postgres]:
        """Start it, and end it for sure: the kernel does so if the tests are killed."""
        with tempfile.TemporaryDirectory(prefix="fedproc-pg-") as name:
            folder = Path(name)
            as_postgres = _unprivileged(folder)
            subprocess.run(
                [*as_postgres, _program("initdb"), "-D", folder / "data", "-U", "postgres", "-A", "trust", "-N",
                 "-E", "UTF8", "--locale=C.UTF-8"],
                check=True, stdout=subprocess.DEVNULL, cwd=folder,
            )  # fmt: skip
            settings = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200"]
            settings.append(f"fsync={'on' if fsync else 'off'}")
            options = [part for setting in settings for part in ("-c", setting)]
            server = subprocess.Popen(
                [*as_postgres, _program("postgres"), "-D", folder / "data", *options],
                stderr=subprocess.PIPE, cwd=folder,
            )  # fmt: skip
            try:
                _await_ready(server)
                yield cls(folder)
            finally:
                server.send_signal(signal.SIGINT)  # it ends now, whoever is still connected
                server.wait(20)


def _unprivileged(folder: Path) -> list[str]:
    """PostgreSQL does not run as root; as root, run it as its own user."""
    dying_with_us = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() != 0:
        return dying_with_us
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [*dying_with_us, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _await_ready(server: subprocess.Popen[bytes]) -> None:
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if _READY in line:
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return
    raise RuntimeError(f"PostgreSQL did not start: {b''.join(said).decode(errors='replace')}")
