"""Datasets in a real PACS (Orthanc): offered by what it says of them, fetched byte for byte, whatever is cut."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from data_store.data import __path__ as stored
from pydicom.uid import JPEG2000Lossless, generate_uid
from tests.site.data.dicom_files import image, segmentation, uid, written
from tests.support.certificates import Authority
from tests.support.orthanc import PASSWORD, USER, Cutting, Orthanc, running_orthanc

from fedproc.common.errors import RefusedError
from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.api import DatasetError, Materialised
from fedproc.site.data.remote import patience
from fedproc.site.data.remote.archive import ArchiveDataApi
from fedproc.site.data.remote.stores import Stores
from fedproc.site.dataset_settings import DatasetSettings

pytestmark = pytest.mark.needs_orthanc

JOB = "j-1"
REAL = Path(next(iter(stored)))


@pytest.fixture(scope="module")
def pacs() -> Iterator[Orthanc]:
    with running_orthanc() as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(pacs: Orthanc) -> Orthanc:
    pacs.remove_all()
    return pacs


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "user"
    path.write_text(f"{USER}:{PASSWORD}\n")
    path.chmod(0o600)
    return path


def slices(count: int, person: str = "P1", rows: int = 4, **values: Any) -> list[bytes]:
    """A series, of which no two slices have the same pixels."""
    ids = {"PatientID": person, "PatientName": person, "StudyInstanceUID": uid(f"study {person}"),
           "SeriesInstanceUID": uid(person), "Rows": rows, "Columns": rows}  # fmt: skip
    return [
        written(
            image(**{**ids, "SOPInstanceUID": uid(f"{person} {number}"), "PixelData": os.urandom(rows**2), **values})
        )
        for number in range(count)
    ]


def entry(orthanc: Orthanc, user_file: Path, url: str | None = None, **others: Any) -> DatasetSettings:
    fetching = {"wait_seconds": 0.01, "timeout_seconds": 10, **others.pop("fetching", {})}
    what = others or {"query": {"Modality": "CT"}}
    given = {"source": "dicomweb", "url": url or orthanc.url, "access": {"user_file": user_file}, "fetching": fetching}
    return DatasetSettings.model_validate({**given, **what})


def api(tmp_path: Path, settings: DatasetSettings, **others: Any) -> ArchiveDataApi:
    return ArchiveDataApi({"ct": settings}, tmp_path / "state" / "datasets", Stores(tmp_path / "fetched"), **others)


async def offered(data: ArchiveDataApi) -> Any:
    """The offer, when the first look has ended."""
    await data.offers()
    await asyncio.wait([data._looks.of("ct").task])
    return (await data.offers() or (None,))[0]


async def given(data: ArchiveDataApi, job: str = JOB, version: str | None = None, **selection: Any) -> Materialised:
    if selection:
        await data.freeze(DatasetUse(id="ct", version=version), Selection(**selection), job, 1)
    return await data.materialise(DatasetUse(id="ct", version=version), job, lambda _: None)


def contents(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@asynccontextmanager
async def cutting(orthanc: Orthanc, *after: int | None) -> AsyncIterator[tuple[Cutting, str]]:
    way = Cutting(orthanc.port, after)
    try:
        yield way, f"http://127.0.0.1:{await way.listen()}/dicom-web"
    finally:
        await way.close()


@pytest.mark.slow
async def test_series_of_300_slices_comes_byte_for_byte(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    sent = slices(300, rows=256)
    orthanc.put(sent)
    data, said = api(tmp_path, entry(orthanc, user_file)), list[str | None]()
    offer = await offered(data)
    assert (offer.files, offer.size) == (300, None)
    assert data.columns(1)[0].imaging.persons == 1
    laid = await data.materialise(DatasetUse(id="ct", version=offer.version), JOB, said.append)
    assert contents(laid.path) == set(sent)
    assert "materialising 300/300 files" in said
    assert said[-1] is None
    await data.confirm("ct", laid.version, JOB)
    await data.discard(JOB)
    assert not (tmp_path / "fetched" / "jobs" / JOB).exists()
    assert not list((tmp_path / "state" / "datasets" / "cohorts").iterdir())


async def test_files_keep_their_transfer_syntax(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    compressed = (REAL / "MR2_J2KR.dcm").read_bytes()
    assert JPEG2000Lossless.encode() in compressed[:1000]
    orthanc.put([compressed])
    accepted = ("patient_name", "birth_date", "private_tags", "institution", "staff", "contact")
    data = api(tmp_path, entry(orthanc, user_file, query={"Modality": "MR"}, identifying_accepted=accepted))
    assert (await offered(data)).files == 1
    assert contents((await given(data)).path) == {compressed}


async def test_selection_is_all_that_is_fetched(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    first, second = slices(2, "P1"), slices(2, "P2", Modality="CT", PatientSex="M")
    seg = written(segmentation(uid("P2"), PatientID="P2", PatientName="P2", StudyInstanceUID=uid("study P2")))
    orthanc.put([*first, *second, seg])
    studies = (uid("study P1"), uid("study P2"))
    data = api(tmp_path, entry(orthanc, user_file, studies=studies))
    laid = await given(data, sex=["M"])
    assert contents(laid.path) == {*second, seg}
    assert len(list((tmp_path / "fetched" / "files").glob("*/*"))) == 3
    with pytest.raises(RefusedError):
        await data.freeze(DatasetUse(id="ct"), Selection(sex=("M",)), "j-2", 5)


@pytest.mark.parametrize(("wanted", "found"), [("P*", 2), ("*1", 1), ("?2", 1), ("P 1", 0)])
async def test_query_may_have_wildcards(
    orthanc: Orthanc, user_file: Path, tmp_path: Path, wanted: str, found: int
) -> None:
    orthanc.put([*slices(1, "P1"), *slices(1, "P2")])
    data = api(tmp_path, entry(orthanc, user_file, query={"PatientID": wanted}))
    assert (await offered(data)).files == found
    laid = await given(data)
    assert laid.path.is_dir()
    assert len(contents(laid.path)) == found


async def test_series_that_was_cut_goes_on_where_it_was(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    sent = slices(12, rows=64)
    orthanc.put(sent)
    async with cutting(orthanc, None, 20_000, 3_000, None) as (way, url):
        data = api(tmp_path, entry(orthanc, user_file, url, fetching={"attempts": 3}))
        assert contents((await given(data)).path) == set(sent)
        assert way.cuts == 2


async def test_fetch_goes_on_in_a_later_process(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    sent = slices(12, rows=64)
    orthanc.put(sent)
    async with cutting(orthanc, None, 30_000) as (way, url):
        data = api(tmp_path, entry(orthanc, user_file, url, fetching={"attempts": 1}))
        with pytest.raises(DatasetError) as caught:
            await given(data)
        assert (caught.value.code, way.cuts) == ("data.unreadable", 1)
        assert "its answer ends in the middle" in caught.value.detail["at_host"]
        here = len(list((tmp_path / "fetched" / "files").glob("*/*")))
        assert 0 < here < 12
        again = api(tmp_path, entry(orthanc, user_file, url))
        laid = await given(again)
        assert contents(laid.path) == set(sent)


async def test_pacs_that_is_killed_in_mid_series_is_waited_for(user_file: Path, tmp_path: Path) -> None:
    with running_orthanc() as orthanc:
        sent = slices(100, rows=512)  # more than sockets hold
        orthanc.put(sent)
        data = api(tmp_path, entry(orthanc, user_file, fetching={"attempts": 50, "megabytes_per_second": 8}))
        await offered(data)
        said = list[str | None]()
        going = asyncio.create_task(data.materialise(DatasetUse(id="ct"), JOB, said.append))
        async with asyncio.timeout(20):
            while not any(text and "materialising" in text for text in said):
                await asyncio.sleep(0.01)
        orthanc.kill()
        async with asyncio.timeout(20):
            while not any(text and "does not answer" in text for text in said):
                await asyncio.sleep(0.01)
        await asyncio.to_thread(orthanc.start)
        assert contents((await going).path) == set(sent)


async def test_wrong_password_is_told_with_the_pacs_own_words(orthanc: Orthanc, tmp_path: Path) -> None:
    wrong = tmp_path / "user"
    wrong.write_text("fedproc:wrong")
    wrong.chmod(0o600)
    data = api(tmp_path, entry(orthanc, wrong))
    assert await offered(data) is None
    [found] = data.conditions()
    assert found.problem == "/series: HTTP 401: it asks for Basic"
    assert found.cure is not None
    assert "datasets.ct.access" in found.cure
    with pytest.raises(DatasetError) as caught:
        await given(data)
    assert "401" not in caught.value.message
    wrong.write_text(f"{USER}:{PASSWORD}")
    orthanc.put(slices(1))
    assert contents((await given(data)).path)


async def test_password_that_others_may_read_is_not_used(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    os.chmod(user_file, 0o644)  # noqa: PTH101
    data = api(tmp_path, entry(orthanc, user_file))
    assert await offered(data) is None
    assert data.conditions()[0].problem == f"{user_file} may be read by others: chmod 600 {user_file}"


async def test_images_that_name_their_patient_are_not_offered(
    orthanc: Orthanc, user_file: Path, tmp_path: Path
) -> None:
    orthanc.put(slices(2, PatientName="Doe^Jane"))
    data = api(tmp_path, entry(orthanc, user_file))
    assert await offered(data) is None
    [found] = data.conditions()
    assert found.problem == "it may tell who persons are: patient_name (2 files)"
    assert found.cure is not None
    assert 'identifying_accepted = ["patient_name"]' in found.cure
    with pytest.raises(DatasetError, match="not said that it is de-identified"):
        await given(data)


async def test_version_follows_from_what_the_pacs_has(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    orthanc.put(slices(2))
    settings = entry(orthanc, user_file, fetching={"query_seconds": 1})
    data = api(tmp_path, settings)
    before = await offered(data)
    assert (await offered(api(tmp_path / "elsewhere", settings))).version == before.version
    await given(data)
    assert (await data._current("ct", settings)).version == before.version  # that bytes have come changes nothing
    orthanc.put(slices(1, "P2"))
    with pytest.raises(DatasetError) as caught:
        await given(data, "j-2", before.version)
    assert caught.value.code == "data.version"


async def test_images_that_come_twice_with_other_bytes_are_another_version(
    orthanc: Orthanc, user_file: Path, tmp_path: Path
) -> None:
    orthanc.put(slices(2))
    settings = entry(orthanc, user_file)
    data = api(tmp_path, settings)
    version = (await offered(data)).version
    await given(data)
    await data.discard(JOB)
    for path in (tmp_path / "fetched" / "files").glob("*/*"):
        path.unlink()
    orthanc.remove_all()
    orthanc.put(slices(2))  # other pixels, and nothing else
    with pytest.raises(DatasetError) as caught:
        await given(data, "j-2", version)
    assert caught.value.code == "data.version"
    now = await data._current("ct", settings)
    assert now.version != version
    assert await given(data, "j-3", now.version)


async def test_what_no_job_uses_goes_for_what_one_needs(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    for person in ("P1", "P2", "P3"):
        orthanc.put(slices(4, person, rows=300))
    data = api(tmp_path, entry(orthanc, user_file, fetching={"store_mb": 1}))
    for number in (1, 2, 3):
        await given(data, f"j-{number}", patient=[f"P{number}"])
        await data.discard(f"j-{number}")
    assert sum(path.stat().st_size for path in (tmp_path / "fetched" / "files").glob("*/*")) <= 10**6
    first = await given(data, "j-1", patient=["P1"])
    for job in ("j-4", "j-5"):  # the same files, linked twice
        await given(data, job, patient=["P2"])
    with pytest.raises(DatasetError) as caught:
        await given(data, "j-6")
    assert "is full of what jobs use" in caught.value.detail["at_host"]
    assert len(contents(first.path)) == 4


async def test_images_are_fetched_at_the_hours_of_the_site(
    orthanc: Orthanc, user_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime.datetime):
        hour_now = 12

        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(2026, 1, 1, cls.hour_now, 0)

    monkeypatch.setattr(patience, "datetime", Clock)
    monkeypatch.setattr(patience, "_LOOK_SECONDS", 0.01)
    orthanc.put(slices(1))
    data = api(tmp_path, entry(orthanc, user_file, fetching={"hours": "20:00-06:00"}))
    said = list[str | None]()
    going = asyncio.create_task(data.materialise(DatasetUse(id="ct"), JOB, said.append))
    async with asyncio.timeout(20):
        while not any(text and "20:00-06:00" in text for text in said):
            await asyncio.sleep(0.01)
    assert not going.done()
    Clock.hour_now = 3
    assert contents((await going).path)


async def test_query_is_asked_page_by_page(orthanc: Orthanc, user_file: Path, tmp_path: Path) -> None:
    one = image()
    for number in range(205):
        one.SeriesInstanceUID, one.SOPInstanceUID = generate_uid(), generate_uid()
        one.StudyInstanceUID = uid(f"study {number % 5}")
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        orthanc.put([written(one)])
    data = api(tmp_path, entry(orthanc, user_file))
    assert (await offered(data)).files == 205


async def test_pacs_is_known_by_its_certificate_and_knows_us_by_ours(
    orthanc: Orthanc, tmp_path: Path, user_file: Path
) -> None:
    """As behind the proxy that ends TLS before a PACS."""
    hospital, other = Authority.make("hospital"), Authority.make("somebody else")
    hospital.save(tmp_path / "hospital")
    other.save(tmp_path / "other")
    for name, authority in (("localhost", hospital), ("client", hospital), ("stranger", other)):
        key, certificate = authority.pair(name)
        (tmp_path / f"{name}.key").write_bytes(key)
        (tmp_path / f"{name}.crt").write_bytes(certificate)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "hospital.pem"))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(tmp_path / "localhost.crt", tmp_path / "localhost.key")
    way = Cutting(orthanc.port, ())
    url = f"https://localhost:{await way.listen(tls)}/dicom-web"
    for client, ca, works in (
        ("client", "hospital", True),
        ("stranger", "hospital", False),
        ("client", "other", False),
    ):
        access = {
            "user_file": user_file, "ca_file": tmp_path / f"{ca}.pem",
            "certificate": tmp_path / f"{client}.crt", "key": tmp_path / f"{client}.key",
        }  # fmt: skip
        settings = entry(orthanc, user_file, url, fetching={"attempts": 1}).model_dump(exclude_unset=True)
        offer = await offered(
            api(tmp_path / f"{client}-{ca}", DatasetSettings.model_validate(settings | {"access": access}))
        )
        assert (offer is not None) is works, (client, ca)
    await way.close()
