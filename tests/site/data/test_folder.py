"""A host's datasets: each for itself, and looked at in the background."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.site.data.dicom_files import image, put, uid, written

from fedproc.contract.wire.messages import DatasetUse
from fedproc.site.data import background, walking
from fedproc.site.data import folder as module
from fedproc.site.data.api import DatasetError
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.dataset_settings import DatasetSettings


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good"
    path.mkdir()
    (path / "dataset.json").write_text(json.dumps({"version": "3"}))
    return path


def api(seconds: float = 0.0, **paths: Path) -> FolderDataApi:
    indexes = next(iter(paths.values())).parent / "indexes"
    return FolderDataApi({name: DatasetSettings(path=path) for name, path in paths.items()}, indexes, seconds)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b'{"version": "\\ud800"}'])
async def test_one_bad_description_hides_no_other_dataset_and_is_told_once(
    good: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "dataset.json").write_bytes(content)
    data = api(bad=tmp_path / "bad", good=good)
    with capture_logs() as logs:
        assert [(one.id, one.label) for one in await data.offers()] == [("good", "3")]
        await data.offers()
    assert [line["dataset"] for line in logs if line["event"] == "dataset.unreadable"] == ["bad"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
async def test_byte_order_mark_of_a_description_is_no_part_of_it(good: Path, encoding: str) -> None:
    (good / "dataset.json").write_bytes('{"version": "4", "description": "Größe"}'.encode(encoding))
    [offer] = await api(good=good).offers()
    assert (offer.label, offer.description) == ("4", "Größe")


async def test_folder_that_has_gone_is_not_offered(good: Path, tmp_path: Path) -> None:
    data = api(gone=tmp_path / "gone", good=good)
    assert [one.id for one in await data.offers()] == ["good"]


async def test_error_below_a_dataset_ends_nothing(good: Path) -> None:
    here = good
    (good / "loop").symlink_to("loop")
    for _ in range(3):
        here = here / "folder"
        here.mkdir()
        (here / "file").write_bytes(b"12345")
    [offer] = await api(good=good).offers()
    assert (offer.files, offer.size) == (4, 15 + (good / "dataset.json").stat().st_size)


async def test_dataset_is_not_walked_again_at_each_heartbeat(good: Path) -> None:
    data = api(seconds=60.0, good=good)
    await data.offers()
    (good / "more").write_bytes(b"1")
    [offer] = await data.offers()
    assert offer.files == 1


async def test_source_that_was_not_there_at_first_is_looked_at_again_soon(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.01)
    away = good.with_name("away")
    data = api(seconds=600.0, good=away)
    assert await data.offers() == ()
    shutil.copytree(good, away)
    async with asyncio.timeout(30):
        while not await data.offers():
            await asyncio.sleep(0.01)


async def test_large_dataset_keeps_no_heartbeat_waiting(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_SECONDS", 0.05)
    walked = asyncio.Event()

    async def slowly(*_: object) -> None:
        await walked.wait()

    monkeypatch.setattr(FolderDataApi, "_looked_at", slowly)
    assert await api(good=good).offers() == ()
    walked.set()


async def test_dataset_that_cannot_be_read_is_shown_with_folder_reason_and_cure(good: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "dataset.json").write_text("{")
    (tmp_path / "file").write_text("")
    data = api(good=good, gone=tmp_path / "gone", bad=tmp_path / "bad", file=tmp_path / "file")
    assert all(found.offer is None and found.problem is None for found in data.conditions())
    await data.offers()
    found = {one.id: one for one in data.conditions()}
    assert found["good"].offer is not None
    assert (found["good"].problem, found["good"].cure) == (None, None)
    assert found["gone"].path == tmp_path / "gone"
    assert "No such file" in str(found["gone"].problem)
    assert "datasets.gone.path" in str(found["gone"].cure)
    assert "datasets.file.path" in str(found["file"].cure)
    assert f"mend {tmp_path / 'bad' / 'dataset.json'}" in str(found["bad"].cure)


@pytest.mark.parametrize("name", ["a b", "a;touch x", "it's"])
def test_cure_for_a_folder_of_any_name_is_a_command_of_that_folder(tmp_path: Path, name: str) -> None:
    cure = module._cure("d", DatasetSettings(path=tmp_path / name), PermissionError(13, "Permission denied"))
    assert shlex.split(cure.partition(": ")[2])[-1] == str(tmp_path / name)


async def test_dataset_that_is_mended_is_shown_as_good_again(tmp_path: Path) -> None:
    data = api(late=tmp_path / "late")
    await data.offers()
    assert data.conditions()[0].problem
    (tmp_path / "late").mkdir()
    await data.offers()
    assert data.conditions()[0].problem is None


async def test_look_that_nobody_waits_for_walks_no_further(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (good / f"{number}").mkdir()
    begun, go_on, walked = threading.Event(), threading.Event(), []
    real = os.scandir

    def slowly(folder: bytes) -> Any:
        begun.set()
        go_on.wait(10)
        walked.append(folder)
        return real(folder)

    monkeypatch.setattr(walking.os, "scandir", slowly)
    data = api(good=good)
    looking = asyncio.create_task(data._looked_at("good", DatasetSettings(path=good)))
    await asyncio.to_thread(begun.wait, 10)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    go_on.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "folder_state"]:
        await asyncio.to_thread(thread.join, 10)
    assert len(walked) == 1


async def test_byte_order_mark_before_a_description_does_not_matter(good: Path) -> None:
    (good / "dataset.json").write_bytes(b'\xef\xbb\xbf{"version": "4"}')
    assert [offer.label for offer in await api(good=good).offers()] == ["4"]


async def test_centre_is_told_at_once_when_another_thing_is_offered(good: Path, tmp_path: Path) -> None:
    told: list[None] = []
    settings = {"good": DatasetSettings(path=good)}
    data = FolderDataApi(settings, tmp_path / "indexes", 0.0, on_change=lambda: told.append(None))
    for _ in range(3):
        await data.offers()
    assert len(told) == 1
    (good / "more").touch()
    await data.offers()
    assert len(told) == 2


# -- versions, and what a job is given ---------------------------------------------------------------


def quiet(_: str | None) -> None:
    """Nobody is told what a job waits for."""


async def refused(data: FolderDataApi, **use: Any) -> DatasetError:
    with pytest.raises(DatasetError) as raised:
        await data.materialise(DatasetUse(**use), "j-1", quiet)
    return raised.value


async def test_version_follows_from_content_and_what_the_site_wrote_is_a_label(good: Path) -> None:
    data = api(good=good)
    [first] = await data.offers()
    assert first.version.startswith("sha256:")
    assert first.label == "3"
    (good / "image").write_bytes(b"1")
    [second] = await data.offers()
    assert second.version != first.version
    assert second.label == "3"


async def test_job_is_given_the_version_that_was_chosen_or_none(good: Path) -> None:
    data = api(good=good)
    [offer] = await data.offers()
    given = await data.materialise(DatasetUse(id="good", version=offer.version), "j-1", quiet)
    assert (given.path, given.version) == (good, offer.version)
    (good / "image").write_bytes(b"1")
    assert (await refused(data, id="good", version=offer.version)).code == "data.version"
    assert (await refused(data, id="other")).code == "data.unknown"


async def test_order_of_a_centre_that_knows_the_label_alone_is_taken(good: Path) -> None:
    data = api(good=good)
    assert (await data.materialise(DatasetUse(id="good", version="3"), "j-1", quiet)).path == good
    assert (await refused(data, id="good", version="2")).code == "data.version"


async def test_change_while_a_job_runs_is_noticed_at_its_end(good: Path) -> None:
    data = api(good=good)
    given = await data.materialise(DatasetUse(id="good"), "j-1", quiet)
    await data.confirm("good", given.version, "j-1")
    (good / "dataset.json").touch()
    await data.confirm("good", given.version, "j-1")
    (good / "more").touch()
    with pytest.raises(DatasetError) as raised:
        await data.confirm("good", given.version, "j-1")
    assert raised.value.code == "data.changed"
    shutil.rmtree(good)
    with pytest.raises(DatasetError) as raised:
        await data.confirm("good", given.version, "j-1")
    assert raised.value.code == "data.unreadable"


@pytest.mark.parametrize(("verify", "noticed"), [("stat", False), ("content", True)])
async def test_bytes_that_changed_behind_their_time_are_noticed_where_the_site_asks_for_it(
    good: Path, tmp_path: Path, verify: Any, noticed: bool
) -> None:
    image = good / "image"
    image.write_bytes(b"one")
    os.utime(image, (1_600_000_000, 1_600_000_000))
    data = FolderDataApi({"good": DatasetSettings(path=good, verify=verify)}, tmp_path / "indexes")
    given = await data.materialise(DatasetUse(id="good"), "j-1", quiet)
    image.write_bytes(b"two")
    os.utime(image, (1_600_000_000, 1_600_000_000))
    if not noticed:
        return await data.confirm("good", given.version, "j-1")
    with pytest.raises(DatasetError) as raised:
        await data.confirm("good", given.version, "j-1")
    assert raised.value.code == "data.changed"


async def test_bytes_are_read_again_after_as_many_days_as_the_site_says(good: Path, tmp_path: Path) -> None:
    (good / "image").write_bytes(b"one")
    os.utime(good / "image", (1_600_000_000, 1_600_000_000))
    settings, indexes = {"good": DatasetSettings(path=good)}, tmp_path / "indexes"
    [before] = await FolderDataApi(settings, indexes, 0.0).offers()
    (good / "image").write_bytes(b"two")
    os.utime(good / "image", (1_600_000_000, 1_600_000_000))
    [seldom] = await FolderDataApi(settings, indexes, 0.0, reread_days=30).offers()
    [often] = await FolderDataApi(settings, indexes, 0.0, reread_days=1e-9).offers()
    assert (seldom.version == before.version, often.version == before.version) == (True, False)


# -- what images there are ---------------------------------------------------------------------------


@pytest.mark.slow
async def test_what_images_are_goes_with_the_first_page_and_is_counted_once_a_version(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        ids = {"PatientID": f"P{number}", "PatientName": f"P{number}", "SeriesInstanceUID": uid(f"{number}")}
        put(good / f"{number}", image(SOPInstanceUID=uid(f"i{number}"), **ids))
    data, counted = api(good=good), list[str]()
    real = data._indexer.images
    monkeypatch.setattr(data._indexer, "images", lambda name: (counted.append(name), real(name))[1])
    for _ in range(2):
        [offer] = await data.offers()
    [page] = data.columns(10)
    assert (page.dataset, page.version, page.columns) == ("good", offer.version, ())
    assert page.imaging is not None
    assert page.imaging.modality.persons == {"CT": 10}
    [few] = data.columns(11)
    assert few.imaging is not None
    assert few.imaging.persons is None
    assert counted == ["good"]
    (good / "0").unlink()
    await data.offers()
    assert counted == ["good", "good"]


@pytest.mark.parametrize(
    ("files", "described", "kinds"),
    [
        (["1.dcm"], {}, ("images",)),
        (["1.dcm", "README"], {}, ("images",)),
        (["1.dcm", "rows.CSV"], {}, ("images", "files")),
        (["rows.csv"], {}, ("files",)),
        (["rows.csv"], {"columns": [{"name": "age", "type": "integer"}], "tables": {"t": "rows.csv"}}, ("tables",)),
        (
            ["1.dcm", "rows.csv"],
            {"columns": [{"name": "age", "type": "integer"}], "tables": {"t": "rows.csv"}},
            ("images", "tables"),
        ),
        (["rows.csv"], {"columns": [{"name": "age", "type": "integer"}], "show_columns": False}, ("files",)),
        ([], {}, ("files",)),
    ],
)
async def test_host_says_what_a_dataset_holds(
    good: Path, files: list[str], described: dict[str, Any], kinds: tuple[str, ...]
) -> None:
    for name in files:
        if name.endswith(".dcm"):
            put(good / name, image())
        else:
            (good / name).write_text("age\n61\n")
    (good / "dataset.json").write_text(json.dumps({"version": "3", **described}))
    [offer] = await api(good=good).offers()
    assert offer.kinds == kinds


# -- who a person is ---------------------------------------------------------------------------------


async def test_dataset_that_may_tell_who_persons_are_is_not_offered_until_its_site_says_so(good: Path) -> None:
    put(good / "1.dcm", image(PatientName="Doe^Jane", PatientBirthDate="19700101"))
    data = api(good=good)
    assert await data.offers() == ()
    [found] = data.conditions()
    assert found.problem == "it may tell who persons are: patient_name (1 files), birth_date (1 files)"
    assert 'dataset.json: {"identifying_accepted": ["patient_name", "birth_date"]}' in str(found.cure)
    error = await refused(data, id="good")
    assert error.code == "data.identifying"
    assert "Jane" not in error.message + str(found)

    (good / "dataset.json").write_text(json.dumps({"identifying_accepted": ["patient_name"]}))
    assert await data.offers() == ()
    (good / "dataset.json").write_text(json.dumps({"identifying_accepted": ["patient_name", "birth_date"]}))
    [offer] = await data.offers()
    assert offer.files == 2


async def test_what_cannot_be_looked_at_must_be_accepted_before_the_dataset_is_offered(good: Path) -> None:
    (good / "1.dcm").write_bytes(written(image())[:132] + b"\xff" * 400)
    data = api(good=good)
    assert await data.offers() == ()
    [found] = data.conditions()
    assert found.problem == "it may tell who persons are: unreadable_dicom (1 files)"
    (good / "dataset.json").write_text(json.dumps({"identifying_accepted": ["unreadable_dicom"]}))
    assert len(await data.offers()) == 1


@pytest.mark.parametrize("accepted", [True, "patient_name", {"patient_name": 1}, [["patient_name"]], None])
async def test_what_is_accepted_is_a_list_of_names_or_nothing(good: Path, accepted: Any) -> None:
    put(good / "1.dcm", image(PatientName="Doe^Jane"))
    (good / "dataset.json").write_text(json.dumps({"identifying_accepted": accepted}))
    assert await api(good=good).offers() == ()
