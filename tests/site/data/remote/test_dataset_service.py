"""EUCAIM's dataset-service is asked before a job is given data, and told when it begins and ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.orchestrator import order

from fedproc.common.errors import RefusedError
from fedproc.contract.wire.messages import DatasetUse, JobOrder, User
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.api import DatasetError
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.data.remote.dataset_service import AccessedDataApi
from fedproc.site.dataset_settings import DatasetSettings

pytestmark = pytest.mark.server

ORDER = order()
ORDER = ORDER.model_copy(update={"user": User(sub="5a1c", name="Maria García")})
NEEDED = {"userName", "datasets", "toolName", "toolVersion", "image", "commandLine", "isJob", "resourcesFlavor",
          "openchallengeJobType"}  # fmt: skip
"""what the real one reads of a body, each of which it needs (its source, postDatasetAccess)"""


class Service:
    """Answers as the real one: 204, 403 with a list, 201, 204; its ids and rights are what a test says."""

    def __init__(self) -> None:
        self.allowed = {"d-7"}
        self.down = False
        self.says: dict[str, int] = {}
        """by method: what it answers when it has done what was asked"""
        self.asked: list[tuple[str, str, Any]] = []
        self.open: dict[str, Any] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append((self.command, self.path, body))
                assert self.headers["Authorization"] == "Bearer machine"
                self.send_response(500 if service.down else service.answer(self.command, self.path, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PATCH = do_POST

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> int:
        status = self.status(method, path, body)
        return status if path == "/api/datasetAccessCheck" else self.says.get(method, status)

    def status(self, method: str, path: str, body: dict[str, Any]) -> int:
        access = path.rpartition("/")[2]
        if method == "PATCH":
            assert set(body) == {"status", "startTime", "endTime"}
            return 204 if self.open.pop(access, None) else 404
        if not set(body["datasets"]) <= self.allowed:
            return 403
        if path == "/api/datasetAccessCheck":
            return 204
        assert set(body) == NEEDED
        if access in self.open:
            return 409
        self.open[access] = body
        return 201


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def api(service: Service, tmp_path: Path) -> AccessedDataApi:
    (tmp_path / "d").mkdir(parents=True, exist_ok=True)
    (tmp_path / "token").write_text("machine")
    (tmp_path / "token").chmod(0o600)
    given = {
        "url": f"http://127.0.0.1:{service.server.server_port}", "dataset": "d-7",
        "access": {"token_file": tmp_path / "token"}, "fetching": {"attempts": 2, "wait_seconds": 0.01},
    }  # fmt: skip
    datasets = {"d": DatasetSettings.model_validate({"path": tmp_path / "d", "service": given})}

    async def order_of(_job: str) -> JobOrder:
        return ORDER

    return AccessedDataApi(FolderDataApi(datasets, tmp_path / "i"), datasets, tmp_path / "accesses", order_of)


async def test_service_is_asked_and_told_once_each(service: Service, tmp_path: Path) -> None:
    for _ in range(2):  # a daemon after this one materialises again
        assert await api(service, tmp_path).materialise(DatasetUse(id="d"), ORDER.job, lambda _: None)
    [(access, told)] = service.open.items()
    assert access == f"{ORDER.job}.d"
    assert (told["toolName"], told["userName"]) == (ORDER.tool.id, "5a1c")  # a name may be another's, too
    assert [path for _, path, _ in service.asked] == ["/api/datasetAccessCheck", f"/api/datasetAccess/{access}"]
    await api(service, tmp_path).discard(ORDER.job)
    assert service.open == {}
    assert not (tmp_path / "accesses" / ORDER.job).exists()


async def test_user_without_a_right_is_refused(service: Service, tmp_path: Path) -> None:
    service.allowed = set()
    with pytest.raises(RefusedError) as caught:
        await api(service, tmp_path).materialise(DatasetUse(id="d"), ORDER.job, lambda _: None)
    assert caught.value.code == "data.access"
    await api(service, tmp_path).discard(ORDER.job)
    assert [path for _, path, _ in service.asked] == ["/api/datasetAccessCheck"]


async def test_service_that_is_away_is_no_yes_and_its_end_is_tried_again(service: Service, tmp_path: Path) -> None:
    service.down = True
    with pytest.raises(DatasetError) as caught:
        await api(service, tmp_path).materialise(DatasetUse(id="d"), ORDER.job, lambda _: None)
    assert caught.value.code == "data.unreadable"
    service.down = False
    await api(service, tmp_path).materialise(DatasetUse(id="d"), ORDER.job, lambda _: None)
    service.down = True
    with pytest.raises(OSError, match="HTTP 500"):
        await api(service, tmp_path).discard(ORDER.job)
    service.down = False
    await api(service, tmp_path).discard(ORDER.job)
    assert service.open == {}


async def test_beginning_that_was_cut_is_repeated_and_ended(service: Service, tmp_path: Path) -> None:
    service.says = {"POST": 500}  # it has noted it, and its answer is lost
    with pytest.raises(DatasetError):
        await api(service, tmp_path).materialise(DatasetUse(id="d"), ORDER.job, lambda _: None)
    assert len(service.open) == 1
    service.says = {}
    assert await api(service, tmp_path).materialise(DatasetUse(id="d"), ORDER.job, lambda _: None)
    service.says = {"POST": 500}
    with pytest.raises(DatasetError):
        await api(service, tmp_path / "2").materialise(DatasetUse(id="d"), ORDER.job, lambda _: None)
    await api(service, tmp_path / "2").discard(ORDER.job)
    assert service.open == {}


async def test_end_that_the_service_refuses_keeps_nothing(service: Service, tmp_path: Path) -> None:
    data = api(service, tmp_path)
    await data.freeze(DatasetUse(id="d"), None, ORDER.job, 1)  # type: ignore[arg-type] (all of it)
    await data.materialise(DatasetUse(id="d"), ORDER.job, lambda _: None)
    service.down = True
    with pytest.raises(OSError, match="HTTP 500"):
        await data.discard(ORDER.job)
    assert not (tmp_path / "i" / "cohorts" / ORDER.job).exists()  # what is here goes, whatever the service says
    service.down, service.says = False, {"PATCH": 400}
    await data.discard(ORDER.job)
    assert not (tmp_path / "accesses" / ORDER.job).exists()


async def test_user_without_a_right_learns_nothing_of_a_selection(service: Service, tmp_path: Path) -> None:
    service.allowed = set()
    with pytest.raises(RefusedError) as caught:
        await api(service, tmp_path).freeze(DatasetUse(id="d"), Selection(sex=("M",)), ORDER.job, 5)
    assert caught.value.code == "data.access"
    assert [path for _, path, _ in service.asked] == ["/api/datasetAccessCheck"]
