"""A real PACS that speaks DICOMweb: Orthanc of Debian, on a port of its own, as nobody, gone with the tests."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from tests.support.processes import DYING_WITH_US

from fedproc.demo.polling import free_ports

USER, PASSWORD = "fedproc", "secret of the tests"
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_NOBODY = 65534
_SECONDS = 30.0


class Orthanc:
    """One in ``folder``. ``settings`` are added to its configuration."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.port = free_ports(1)[0]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.base = f"http://127.0.0.1:{self.port}"
        config = {
            "Name": "TESTS", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
            "HttpPort": self.port, "DicomServerEnabled": False, "RemoteAccessAllowed": False,
            # without these two, each answer waits for the other side's acknowledgement
            "KeepAlive": True, "TcpNoDelay": True,
            "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD},
            "Plugins": [str(_PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **settings,
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(config))
        (folder / "db").mkdir()

    @property
    def url(self) -> str:
        """Of its DICOMweb."""
        return f"{self.base}/dicom-web"

    def start(self) -> None:
        """Return when it answers."""
        program = shutil.which("Orthanc")
        if program is None or not _PLUGIN.exists():
            raise RuntimeError("these tests need Orthanc: apt-get install orthanc orthanc-dicomweb")
        command = [*DYING_WITH_US]
        if os.geteuid() == 0:
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, _NOBODY, _NOBODY)
            command += [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, program, str(self._folder / "orthanc.json")], stdout=log, stderr=log, cwd=self._folder
            )
        deadline = time.monotonic() + _SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Orthanc did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As a machine that fails does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def put(self, contents: Iterable[bytes]) -> None:
        """Store files."""
        with self._client() as client:
            for content in contents:
                client.post(f"{self.base}/instances", content=content).raise_for_status()

    def remove_all(self) -> None:
        """Forget every patient."""
        with self._client() as client:
            for patient in client.get(f"{self.base}/patients").json():
                client.delete(f"{self.base}/patients/{patient}").raise_for_status()

    def _client(self) -> httpx.Client:
        return httpx.Client(auth=(USER, PASSWORD), verify=False, timeout=60, trust_env=False)

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError), self._client() as client:
            return client.get(f"{self.base}/system").status_code in {200, 401}
        return False


@contextmanager
def running_orthanc(**settings: object) -> Iterator[Orthanc]:
    """One that runs."""
    with tempfile.TemporaryDirectory(prefix="fedproc-orthanc-") as name:
        folder = Path(name)
        orthanc = Orthanc(folder, **settings)
        try:
            orthanc.start()
            yield orthanc
        finally:
            orthanc.kill()


class Cutting:
    """A way to a port on this machine that cuts each connection after as many bytes of answers as ``after`` has, in
    turn; None does not cut. ``url`` is that of what is behind it."""

    def __init__(self, port: int, after: Iterable[int | None]) -> None:
        self._port = port
        self._after = iter(after)
        self.cuts = 0
        self.connections = 0

    async def listen(self, tls: ssl.SSLContext | None = None) -> int:
        """The port on which it listens."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0, ssl=tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        left = next(self._after, None)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def up() -> None:
            while data := await reader.read(65536):
                inner_writer.write(data)
                await inner_writer.drain()

        async def down() -> None:
            nonlocal left
            while data := await inner_reader.read(65536):
                if left is not None and len(data) > left:
                    writer.write(data[:left])
                    await writer.drain()
                    self.cuts += 1
                    return
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()

        with suppress(OSError):
            ways = [asyncio.create_task(up()), asyncio.create_task(down())]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        writer.close()
        inner_writer.close()
