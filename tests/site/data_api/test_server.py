"""The reference Data API by HTTP: what it offers, freezes and gives, and what it never gives."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import json
import os
import socket as sockets
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from tests.site.data.dicom_files import image, put
from tests.site.data_api.conftest import PREFIX, client, images, served
from tests.support.trickling import HEAD, Trickling

from fedproc.common.errors import UnavailableError
from fedproc.contract.data_api import CohortRequest, CohortView
from fedproc.contract.times import now
from fedproc.site.data import folder as folder_module
from fedproc.site.data import indexer
from fedproc.site.data_api import server as module
from fedproc.site.data_api import tokens as tokens_module
from fedproc.site.data_api.service import DataService
from fedproc.site.data_api.settings import DataApiSettings, TokenSettings
from fedproc.site.data_api.tokens import Tokens

pytestmark = pytest.mark.server


async def frozen(http: httpx.AsyncClient, **request: object) -> dict[str, object]:
    answer = await http.post(f"{PREFIX}/datasets/ct/cohorts", json=request)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_datasets_are_listed_with_rounded_numbers_and_no_path(socket: Path, folder: Path) -> None:
    async with client(socket) as http:
        [found] = (await http.get(f"{PREFIX}/datasets")).json()["datasets"]
        assert found["id"] == "ct"
        assert (found["title"], found["label"], found["kinds"]) == ("Chests of 2024", "7", ["images", "tables"])
        assert (found["description"], found["creators"]) == ("Chests", ["A. Roe"])
        assert (found["persons"], found["floor"], found["files"]) == (10, 5, 15)
        described = (await http.get(f"{PREFIX}/datasets/ct")).json()
        assert described["columns"][0]["columns"][0]["name"] == "age"
        assert described["columns"][0]["imaging"]["sex"]["persons"] == {"F": 5, "M": 5}
        assert str(folder) not in json.dumps(described)
        assert (await http.get(f"{PREFIX}/datasets/none")).status_code == 404


async def test_cohort_has_files_with_their_hashes_and_bytes(socket: Path, folder: Path) -> None:
    async with client(socket) as http:
        cohort = await frozen(http)
        assert cohort["files"] == 15
        listed = (await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files")).json()["files"]
        paths = [file["path"] for file in listed]
        assert list(map(unquote, paths)) == sorted(map(unquote, paths))
        for file in listed:
            content = (await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files/{file['path']}")).content
            assert content == (folder / unquote(file["path"])).read_bytes()
            assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert (await http.delete(f"{PREFIX}/cohorts/{cohort['id']}")).status_code == 204
        assert (await http.get(f"{PREFIX}/cohorts/{cohort['id']}")).status_code == 404


async def test_files_come_page_by_page(socket: Path) -> None:
    async with client(socket) as http:
        cohort, seen, after = await frozen(http), list[str](), None
        while True:
            params = {"limit": "4"} | ({"after": after} if after else {})
            page = (await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files", params=params)).json()
            seen += [file["path"] for file in page["files"]]
            if (after := page.get("next")) is None:
                break
        assert len(seen) == len(set(seen)) == 15


async def test_selection_holds_to_the_floor(socket: Path) -> None:
    async with client(socket) as http:
        assert (await frozen(http, selection={"sex": ["F"]}))["files"] == 8  # six, one segmentation, dataset.json
        answer = await http.post(f"{PREFIX}/datasets/ct/cohorts", json={"selection": {"patient": ["P00"]}})
        assert (answer.status_code, answer.json()["code"]) == (403, "policy.selection")
        answer = await http.post(f"{PREFIX}/datasets/ct/cohorts", json={"selection": {"sex": ["F"]}, "floor": 7})
        assert answer.json()["code"] == "policy.selection"
        answer = await http.post(f"{PREFIX}/datasets/ct/cohorts", json={"selection": {"sx": ["F"]}})
        assert answer.status_code == 400


async def test_cohort_of_a_large_dataset_is_of_what_was_seen_last_and_waits_for_no_look(
    socket: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_SHORT_SECONDS", 0)
    async with client(socket) as http:
        (offered,) = (await http.get(f"{PREFIX}/datasets")).json()["datasets"]
        monkeypatch.setattr(indexer, "folder_state", lambda *_: pytest.fail("it looks at a million files"))
        put(folder / "P99" / "a slice", image(PatientID="P99", PatientName="P99"))
        made = await http.post(f"{PREFIX}/datasets/ct/cohorts", json={"version": offered["version"]})
        assert (made.status_code, made.json()["files"]) == (201, offered["files"])


async def test_part_of_a_file_is_given(socket: Path, folder: Path) -> None:
    whole = (folder / "P00" / "a slice").read_bytes()
    async with client(socket) as http:
        url = f"{PREFIX}/cohorts/{(await frozen(http))['id']}/files/P00/a%20slice"
        for asked, status, expected in (
            ("bytes=10-19", 206, whole[10:20]), ("bytes=100-", 206, whole[100:]), ("bytes=-5", 206, whole[-5:]),
            ("bytes=0-", 200, whole), ("lines=1-2", 200, whole), ("bytes=-", 200, whole),
        ):  # fmt: skip
            answer = await http.get(url, headers={"Range": asked})
            assert (answer.status_code, answer.content) == (status, expected)
        assert (await http.get(url, headers={"Range": f"bytes={len(whole)}-"})).status_code == 416


@pytest.mark.parametrize(
    "path", ["../secret", "..%2fsecret", "P00/../../secret", "/etc/passwd", "%2fetc%2fpasswd", "P00", "x\0", "", "%00"]
)
async def test_nothing_outside_is_given(socket: Path, folder: Path, path: str) -> None:
    (folder.parent / "secret").write_text("secret")
    async with client(socket) as http:
        cohort = await frozen(http)
    raw = await _raw(socket, f"GET /data/v1/cohorts/{cohort['id']}/files/{path} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"secret" not in raw
    assert raw.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))


async def test_file_that_became_a_link_is_not_followed(socket: Path, folder: Path, tmp_path: Path) -> None:
    file = folder / "P00" / "a slice"
    (tmp_path / "secret").write_bytes(b"s" * file.stat().st_size)
    async with client(socket) as http:
        cohort = await frozen(http)
        file.unlink()
        file.symlink_to(tmp_path / "secret")
        answer = await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files/P00/a%20slice")
        assert (answer.status_code, b"ssss" in answer.content) == (503, False)
        file.parent.rename(tmp_path / "elsewhere")
        file.parent.symlink_to(tmp_path / "elsewhere")
        assert (await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files/P00/a%20slice")).status_code == 409


async def test_vanished_folder_stops_nothing(tmp_path: Path, folder: Path) -> None:
    other = images(tmp_path / "other")
    datasets = {"ct": {"path": folder}, "mr": {"path": other}}
    async with served(tmp_path / "api", datasets=datasets, dataset_seconds=1) as socket, client(socket) as http:
        cohort = await frozen(http)
        other.rename(tmp_path / "gone")
        assert (await http.post(f"{PREFIX}/datasets/mr/cohorts", json={})).status_code == 503
        assert (await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files/P00/a%20slice")).status_code == 200
        (folder / "P00" / "a slice").unlink()
        answer = await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files/P00/a%20slice")
        assert (answer.status_code, answer.json()["code"]) == (409, "data.changed")


async def test_identifying_images_are_not_given_and_the_site_is_told_why(tmp_path: Path, folder: Path) -> None:
    from tests.site.data.dicom_files import image, put

    put(folder / "named", image(PatientName="Doe^Jane"))
    secret = tmp_path / "secret"
    secret.write_text("of the site")
    secret.chmod(0o600)
    settings = {"datasets": {"ct": {"path": folder}}, "secret_file": secret}
    async with served(tmp_path / "api", **settings) as socket:
        async with client(socket, "of the site") as http:
            found = (await http.get(f"{PREFIX}/datasets")).json()
            assert found["datasets"] == []
            assert found["problems"][0]["problem"] == "it may tell who persons are: patient_name (1 files)"
            answer = await http.post(f"{PREFIX}/datasets/ct/cohorts", json={})
            assert (answer.status_code, answer.json()["code"]) == (403, "data.identifying")
        for token in (None, "of another"):
            async with client(socket, token) as http:
                assert (await http.get(f"{PREFIX}/datasets")).status_code == 401


def token(key: ECKey, **claims: object) -> str:
    seconds = int(now().timestamp())
    usual = {"iss": "https://issuer.x", "aud": ["host-UB"], "sub": "alice", "iat": seconds, "exp": seconds + 60}
    return jwt.encode({"alg": "ES256", "kid": "k", "typ": "at+jwt"}, {**usual, **claims}, key, algorithms=["ES256"])


async def test_cohort_is_made_with_a_token_of_this_host_alone(tmp_path: Path, folder: Path) -> None:
    key, other = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    (tmp_path / "keys").write_text(json.dumps({"keys": [key.as_dict(private=False) | {"kid": "k", "use": "sig"}]}))
    (tmp_path / "secret").write_text("of the site")
    (tmp_path / "secret").chmod(0o600)
    settings = {
        "datasets": {"ct": {"path": folder}}, "secret_file": tmp_path / "secret",
        "tokens": {"issuer": "https://issuer.x", "audience": "host-UB", "keys_file": tmp_path / "keys"},
    }  # fmt: skip
    refused = {
        "other host": token(key, aud="host-BSC"), "other issuer": token(key, iss="https://other.x"),
        "expired": token(key, exp=1), "not yet": token(key, nbf=9e9), "other key": token(other), "no token": "x.y.z",
        "refresh": token(key, typ="Refresh"), "no end": token(key, exp=None),
        "unsigned": "eyJhbGciOiJub25lIn0." + token(key).split(".")[1] + ".",
    }  # fmt: skip
    async with served(tmp_path / "api", **settings) as socket:
        for name, given in refused.items():
            async with client(socket, given) as http:
                answer = await http.post(f"{PREFIX}/datasets/ct/cohorts", json={})
                assert answer.status_code == 401, name
                assert (await http.get(f"{PREFIX}/datasets")).status_code == 401, name
        async with client(socket, "of the site") as http:
            answer = await http.post(f"{PREFIX}/datasets/ct/cohorts", json={})
            assert (answer.status_code, answer.json()["code"]) == (403, "token.needed")
        async with client(socket, token(key)) as http:
            cohort = await frozen(http)
        async with client(socket, "of the site") as http:
            assert (await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files")).status_code == 200


async def test_odd_requests_end_with_an_answer_of_ours(socket: Path) -> None:
    for request, status in (
        ("POST /data/v1/datasets/ct/cohorts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"400"),
        ("POST /data/v1/datasets/ct/cohorts HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        ("POST /data/v1/datasets/ct/cohorts HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"413"),
        ("GET /data/v1/cohorts/c-/files HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        ("GET /data/v1/cohorts/../files HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        ("PUT / HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
    ):
        assert (await _raw(socket, request)).split(b" ")[1] == status


async def test_those_who_read_a_share_that_hangs_leave_room_for_others(
    socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_OF_DATASET", 0)
    async with client(socket) as http:
        cohort = await frozen(http)
        answer = await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files/P00/a%20slice")
        assert answer.status_code == 503
        assert (await http.get(f"{PREFIX}/datasets")).status_code == 200


async def test_name_that_is_no_utf8_is_given(tmp_path: Path, folder: Path) -> None:
    name = os.fsencode(folder) + b"/\xff\n"
    with open(name, "wb") as file:  # noqa: ASYNC230, PTH123
        file.write(b"odd")
    async with served(tmp_path / "api", datasets={"ct": {"path": folder}}) as socket, client(socket) as http:
        cohort = await frozen(http)
        [odd] = [
            file for file in (await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files")).json()["files"]
            if file["size"] == 3
        ]  # fmt: skip
        assert odd["path"] == "%FF%0A"
        assert (await http.get(f"{PREFIX}/cohorts/{cohort['id']}/files/{odd['path']}")).content == b"odd"


async def test_file_that_fails_while_it_is_read_ends_the_connection(
    socket: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "large").write_bytes(b"B" * (600 << 10))

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(module, "opened", lambda *_: Failing(b"B" * (600 << 10)))
    async with client(socket) as http:
        cohort, got = await frozen(http), b""
        async with http.stream("GET", f"{PREFIX}/cohorts/{cohort['id']}/files/large") as answer:
            with pytest.raises(httpx.RemoteProtocolError):
                async for piece in answer.aiter_raw():
                    got += piece
        assert got == b"B" * (256 << 10)


async def test_those_who_send_nothing_keep_nobody_out(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    async with served(tmp_path / "api", datasets={"ct": {"path": folder}}) as place:
        silent = [sockets.socket(sockets.AF_UNIX) for _ in range(3)]
        for channel in silent:
            channel.settimeout(20)
            channel.connect(str(place))
            channel.sendall(b"GET /data/v1/datasets HTTP/1.1\r\nX: ")
        async with client(place) as http:
            assert (await http.get(f"{PREFIX}/datasets")).status_code == 200
        for channel in silent:
            channel.close()
    monkeypatch.setattr(module, "_REQUEST_SECONDS", 0.2)
    async with served(tmp_path / "again", datasets={"ct": {"path": folder}}) as place:
        raw = await _raw(place, "GET /data/v1/datasets HTTP/1.1\r\n")
    assert raw == b""


async def test_cohort_that_takes_long_is_frozen_once(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free, real = list[str](), asyncio.Event(), DataService.freeze

    async def slow(service: DataService, dataset: str, request: CohortRequest) -> CohortView:
        begun.append(dataset)
        await free.wait()
        return await real(service, dataset, request)

    monkeypatch.setattr(DataService, "freeze", slow)
    monkeypatch.setattr(module, "_FREEZE_SECONDS", 0.1)
    async with served(tmp_path / "api", datasets={"ct": {"path": folder}}) as place, client(place) as http:
        for _ in range(2):
            assert (await http.post(f"{PREFIX}/datasets/ct/cohorts", json={})).status_code == 503
        free.set()
        made, begins = list[str](), list[int]()
        async with asyncio.timeout(20):
            while len(made) < 2:
                answer = await http.post(f"{PREFIX}/datasets/ct/cohorts", json={})
                if answer.status_code == 201:
                    made.append(answer.json()["id"])
                    begins.append(len(begun))
        assert begins == [1, 2]
        assert made[0] != made[1]  # each has its own


async def test_problems_are_not_for_everybody_on_the_machine(tmp_path: Path) -> None:
    from fedproc.demo.polling import free_ports

    (tmp_path / "keys").write_text('{"keys": []}')
    [port] = free_ports(1)
    settings = {
        "datasets": {"ct": {"path": tmp_path / "patients-of-dr-x"}}, "socket": None, "listen_port": port,
        "tokens": {"issuer": "https://issuer.x", "audience": "host-UB", "keys_file": tmp_path / "keys"},
    }  # fmt: skip
    async with served(tmp_path / "api", **settings), httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{port}/data/v1/datasets")
        assert answer.status_code == 200
        assert "patients-of" not in answer.text
    async with served(tmp_path / "api", **{**settings, "listen_port": None, "socket": tmp_path / "api/api.sock"}) as at:
        async with client(at) as http:
            assert "patients-of" in (await http.get(f"{PREFIX}/datasets")).text


def test_token_is_not_wrong_because_the_keys_cannot_be_had(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256")
    given = TokenSettings(issuer="https://issuer.x", audience="host-UB", keys_file=tmp_path / "keys")
    tokens = Tokens(given)
    for _ in range(2):  # the second time they are not asked for
        with pytest.raises(UnavailableError, match="keys cannot be had"):
            tokens.check(token(key))


def test_keys_that_trickle_hold_nobody_who_shows_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "_SECONDS", 0.4)
    with closing(Trickling()) as issuer:
        tokens = Tokens(TokenSettings(issuer="https://issuer.x", audience="host-UB", keys_url=f"{issuer.url}/jwks"))
        for at_once in (HEAD + b"X-Head: ", HEAD + b"\r\n"):
            issuer.at_once, tokens._asked, begun = at_once, 0.0, time.monotonic()
            with pytest.raises(UnavailableError, match="keys cannot be had"):
                tokens.check(token(ECKey.generate_key("P-256")))
            assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give socket or listen_port"),
        ({"listen_port": 1234}, "give secret_file or tokens"),
        ({"listen_port": 1234, "listen_host": "0.0.0.0", "secret_file": "/s"}, "needs certificate"),
        ({"socket": "/s", "datasets": {"a": {"source": "http", "url": "https://x"}}}, "only folders"),
        ({"socket": "/s", "certificate": "/c"}, "certificate and key"),
    ],
)
def test_settings_that_are_not_safe_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DataApiSettings.model_validate({"state": "/x", **settings})


async def _raw(path: Path, request: str) -> bytes:
    def ask() -> bytes:
        with sockets.socket(sockets.AF_UNIX) as channel:
            channel.settimeout(20)
            channel.connect(str(path))
            channel.sendall(request.encode("latin-1"))
            return channel.recv(65536)

    return await asyncio.to_thread(ask)
