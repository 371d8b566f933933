"""An orchestrator whose datasets are behind a Data API: the same bytes, the same version, whatever is cut or false."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from tests.site.data_api.conftest import served
from tests.site.data_api.test_server import token
from tests.support.orthanc import Cutting

from fedproc.common.errors import RefusedError
from fedproc.contract.wire.datasets import ImagingCounts, ImagingSummary
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.api import DatasetError, Materialised
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.data.imaging import rounded_again
from fedproc.site.data.remote.site_api import SiteDataApi
from fedproc.site.data.remote.stores import Stores
from fedproc.site.data_api import service
from fedproc.site.dataset_settings import DatasetSettings

pytestmark = pytest.mark.server
JOB = "j-1"


async def no_token(_job: str) -> str | None:
    return None


def api(tmp_path: Path, url: str, token_of: Any = no_token, **settings: Any) -> SiteDataApi:
    fetching = {"wait_seconds": 0.01, "attempts": 2, **settings.pop("fetching", {})}
    given = DatasetSettings.model_validate({"source": "http", "url": url, "fetching": fetching, **settings})
    return SiteDataApi({"ct": given}, tmp_path / "state", Stores(tmp_path / "fetched"), token_of)


async def given(data: SiteDataApi, floor: int = 5, version: str | None = None, **selection: Any) -> Materialised:
    use = DatasetUse(id="ct", version=version)
    if selection:
        await data.freeze(use, Selection(**selection), JOB, floor)
    return await data.materialise(use, JOB, lambda _: None)


async def offered(data: SiteDataApi) -> Any:
    await data.offers()
    task = data._looks.of("ct").task
    assert task is not None
    await task
    return (await data.offers() or (None,))[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_dataset_is_the_same_as_its_folder(socket: Path, folder: Path, tmp_path: Path) -> None:
    data = api(tmp_path, f"unix://{socket}")
    offer = await offered(data)
    [of_folder] = await FolderDataApi({"ct": DatasetSettings(path=folder)}, tmp_path / "indexes").offers()
    assert (offer.version, offer.label, offer.files) == (of_folder.version, "7", 15)
    assert (offer.title, offer.description, offer.creators) == ("Chests of 2024", "Chests", ("A. Roe",))
    assert (of_folder.title, of_folder.creators) == (offer.title, offer.creators)
    page = data.columns(5)[0]
    assert (page.dataset, page.columns[0].name, page.imaging.persons) == ("ct", "age", 10)
    laid = await given(data, version=offer.version)
    assert contents(laid.path) == contents(folder)
    assert laid.version == offer.version
    await data.confirm("ct", laid.version, JOB)
    persons = await data.persons("ct", laid.version, JOB)
    assert persons.by["images"] == frozenset(f"P{number:02}" for number in range(12))
    assert len(persons.by["rows"]) == 1
    await data.discard(JOB)
    assert not (tmp_path / "fetched" / "jobs" / JOB).exists()
    assert list((tmp_path / "api" / "s" / "datasets" / "cohorts").iterdir()) == []


async def test_selection_is_frozen_there(socket: Path, folder: Path, tmp_path: Path) -> None:
    data = api(tmp_path, f"unix://{socket}")
    await data.freeze(DatasetUse(id="ct"), Selection(sex=("M",)), JOB, 5)
    (folder / "P00" / "later").write_bytes((folder / "P00" / "a slice").read_bytes())
    laid = await given(data)
    assert {name.split("/")[0] for name in contents(laid.path)} == {f"P{n:02}" for n in range(0, 12, 2)} | {
        "dataset.json"
    }
    with pytest.raises(RefusedError) as caught:
        await data.freeze(DatasetUse(id="ct"), Selection(sex=("M",)), "j-2", 7)
    assert caught.value.code == "policy.selection"


async def test_another_version_ends_the_job(socket: Path, folder: Path, tmp_path: Path) -> None:
    data = api(tmp_path, f"unix://{socket}")
    version = (await offered(data)).version
    (folder / "more").write_bytes(b"more")
    with pytest.raises(DatasetError) as caught:
        await given(data, version=version)
    assert caught.value.code == "data.version"


async def test_file_that_changes_after_it_was_frozen_ends_the_job(socket: Path, folder: Path, tmp_path: Path) -> None:
    data = api(tmp_path, f"unix://{socket}")
    await data.freeze(DatasetUse(id="ct"), Selection(sex=("M",)), JOB, 5)
    content = bytearray((folder / "P00" / "a slice").read_bytes())
    content[-1] ^= 1
    (folder / "P00" / "a slice").write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        await given(data)
    assert "other bytes than it listed" in caught.value.detail["at_host"]


async def test_large_file_goes_on_where_it_was_cut(folder: Path, tmp_path: Path) -> None:
    large = os.urandom(3 << 20)
    (folder / "large").write_bytes(large)
    secret = tmp_path / "secret"
    secret.write_text("of the site")
    secret.chmod(0o600)
    async with behind(folder, tmp_path, secret, None, None, 1 << 20, None) as (way, url):
        data = api(tmp_path, url, access={"token_file": secret})
        await offered(data)
        laid = await given(data)
        assert contents(laid.path)["large"] == large
        assert way.cuts == 1


@asynccontextmanager
async def behind(folder: Path, tmp_path: Path, secret: Path, *after: int | None) -> AsyncIterator[tuple[Cutting, str]]:
    from fedproc.demo.polling import free_ports

    port = free_ports(1)[0]
    settings = {"datasets": {"ct": {"path": folder}}, "socket": None, "listen_port": port, "secret_file": secret}
    async with served(tmp_path / "api", **settings):
        way = Cutting(port, after)
        try:
            yield way, f"http://127.0.0.1:{await way.listen()}"
        finally:
            await way.close()


@pytest.mark.parametrize("path", ["../evil", "/evil", "a//b", "a/../../b", "%2e%2e/evil", "a%00b", "", "."])
async def test_name_that_leads_elsewhere_is_refused(
    socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(service, "quote", lambda _: path)
    with pytest.raises(DatasetError) as caught:
        await given(api(tmp_path, f"unix://{socket}"))
    assert "its name" in caught.value.detail["at_host"] or "whose name" in caught.value.detail["at_host"]
    assert not list((tmp_path / "fetched" / "jobs").rglob("*evil*"))


async def test_wrong_secret_is_told_with_its_cure(folder: Path, tmp_path: Path) -> None:
    for name, text in (("right", "of the site"), ("wrong", "of another")):
        (tmp_path / name).write_text(text)
        os.chmod(tmp_path / name, 0o600)  # noqa: PTH101
    settings = {"datasets": {"ct": {"path": folder}}, "secret_file": tmp_path / "right"}
    async with served(tmp_path / "api", **settings) as socket:
        data = api(tmp_path, f"unix://{socket}", access={"token_file": tmp_path / "wrong"})
        assert await offered(data) is None
        [found] = data.conditions()
        assert found.problem == "/data/v1/datasets/ct: HTTP 401: the token is not this site's secret"
        assert "access.token_file" in str(found.cure)


def test_numbers_of_another_floor_are_rounded_to_ours() -> None:
    theirs = ImagingSummary(floor=3, persons=21, studies=30, series=42, sex=ImagingCounts(persons={"F": 15, "M": 9}))
    ours = rounded_again(theirs, 10)
    assert (ours.floor, ours.persons, ours.studies) == (10, 20, 30)
    assert ours.sex == ImagingCounts(persons={"F": 20}, more=True)
    assert rounded_again(theirs, 30) == ImagingSummary(floor=30)


async def test_users_token_goes_with_the_cohort_alone(folder: Path, tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256")
    (tmp_path / "keys").write_text(json.dumps({"keys": [key.as_dict(private=False) | {"kid": "k", "use": "sig"}]}))
    (tmp_path / "secret").write_text("of the site")
    os.chmod(tmp_path / "secret", 0o600)  # noqa: PTH101
    asked = list[str]()

    async def token_of(job: str) -> str | None:
        asked.append(job)
        return token(key)

    settings = {
        "datasets": {"ct": {"path": folder}}, "secret_file": tmp_path / "secret",
        "tokens": {"issuer": "https://issuer.x", "audience": "host-UB", "keys_file": tmp_path / "keys"},
    }  # fmt: skip
    async with served(tmp_path / "api", **settings) as socket:
        access = {"token_file": tmp_path / "secret"}
        with pytest.raises(DatasetError):
            await given(api(tmp_path / "without", f"unix://{socket}", access=access))
        data = api(tmp_path, f"unix://{socket}", token_of, access={**access, "user_token": True})
        assert len(contents((await given(data)).path)) == 15
        assert asked == [JOB]
