"""The demo's images: real pixels of full size, lesions that nobody had, and nothing that tells of anybody."""

from __future__ import annotations

import filecmp
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedproc.common.tasks import StopFlag
from fedproc.demo.imaging import FOLDER, PERSONS, Person, make_image, write_images
from fedproc.demo.segmentation import segmentation
from fedproc.site.data.imaging import images_in
from fedproc.site.data.index import DatasetIndex

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("host", PERSONS)
def test_dataset_has_no_problem_and_tells_of_nobody(data: Path, tmp_path: Path, host: str) -> None:
    index = DatasetIndex(tmp_path / "index.sqlite")
    known = index.update(data / host / FOLDER / FOLDER, StopFlag())
    assert known.found == {}
    with index.readonly() as db:
        found = images_in(db)
    assert found is not None
    assert (found.persons, found.series, found.segmentations) == (PERSONS[host],) * 3
    assert all(count >= 10 for values in found.by.values() for count in values.values())


def test_image_is_of_full_size_and_says_that_it_is_synthetic() -> None:
    image, lesion = make_image(Person("UB", 0))
    assert (image.Rows, image.Columns, image.Modality) == (512, 512, "CT")
    assert "SYNTHETIC" in image.SeriesDescription + image.PatientID
    assert "painted lesion" in image.ImageComments
    assert 50 < lesion.sum() < 5000
    other, _ = make_image(Person("UB", 2))
    assert other.PixelData != image.PixelData
    assert make_image(Person("UB", 1))[0].Modality == "MR"


def test_pixels_are_the_real_ones_but_for_the_lesion() -> None:
    from pydicom.data import get_testdata_file

    image, lesion = make_image(Person("UB", 0))
    real = pydicom.dcmread(str(get_testdata_file("693_UNCI.dcm", download=False))).pixel_array
    pixels = np.frombuffer(image.PixelData, dtype=real.dtype).reshape(real.shape)
    far = ~lesion
    assert (pixels[lesion] >= real[lesion]).all()
    assert (pixels[far] == real[far]).mean() > 0.98


def test_segmentation_is_where_the_lesion_is_and_names_its_image(tmp_path: Path) -> None:
    image, lesion = make_image(Person("UB", 1))
    path = tmp_path / "lesion.dcm"
    pydicom.dcmwrite(path, segmentation(image, lesion), enforce_file_format=True)
    read = pydicom.dcmread(path)
    bits = np.unpackbits(np.frombuffer(read.PixelData, dtype=np.uint8), bitorder="little")
    assert (bits[: lesion.size].reshape(lesion.shape) == lesion).all()
    [series] = read.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID


def test_images_are_the_same_every_time(data: Path, tmp_path: Path) -> None:
    write_images(tmp_path)
    host = next(iter(PERSONS))
    names = [str(path.relative_to(tmp_path / host / FOLDER)) for path in (tmp_path / host).rglob("*.dcm")]
    compared = filecmp.cmpfiles(data / host / FOLDER / FOLDER, tmp_path / host / FOLDER, names, shallow=False)
    assert (len(compared[0]), compared[1:]) == (2 * PERSONS[host], ([], []))
