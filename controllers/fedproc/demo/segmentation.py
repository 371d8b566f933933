"""A lesion as DICOM-SEG (PS3.3, A.51), which names the series and the image that it was made on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from pydicom.dataset import Dataset, FileDataset

_TAKEN = ("PatientID", "PatientName", "PatientIdentityRemoved", "DeidentificationMethod", "PatientSex", "PatientAge",
          "PatientBirthDate", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
          "ReferringPhysicianName", "AcquisitionDate", "FrameOfReferenceUID", "PositionReferenceIndicator",
          "BodyPartExamined", "Manufacturer",
          "BurnedInAnnotation", "Rows", "Columns")  # fmt: skip
_SEGMENT_NUMBER, _SEGMENT_IDENTIFICATION = 0x0062000B, 0x0062000A
_FIXED: dict[str, Any] = {
    "Modality": "SEG", "SeriesNumber": "2", "InstanceNumber": "1", "ContentLabel": "LESION",
    "SegmentationType": "BINARY", "ContentDescription": "where the synthetic lesion was painted",
    "ContentCreatorName": "fedproc",
    "ContentDate": "20260101", "ContentTime": "000000", "ImageType": ["DERIVED", "PRIMARY"], "NumberOfFrames": 1,
    "SeriesDescription": "SYNTHETIC lesion: segmentation", "SoftwareVersions": "fedproc demo",
    "ManufacturerModelName": "fedproc demo", "DeviceSerialNumber": "0", "BitsAllocated": 1, "BitsStored": 1,
    "HighBit": 0, "PixelRepresentation": 0, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
    "LossyImageCompression": "00",
}  # fmt: skip


def segmentation(image: FileDataset, lesion: np.ndarray) -> FileDataset:
    """The segmentation of one image; ``lesion`` is true within it (rows x columns)."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for word in _TAKEN:
        setattr(made, word, image[word].value)
    for word, value in _FIXED.items():
        setattr(made, word, value)
    made.SOPClassUID = meta.MediaStorageSOPClassUID = SegmentationStorage
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[image.PatientID, "lesion"])
    made.SeriesInstanceUID = generate_uid(entropy_srcs=[image.PatientID, "lesions"])
    _refer(made, image)
    made.PixelData = _packed(lesion)
    return made


def _packed(lesion: np.ndarray) -> bytes:
    """One bit a pixel, the lowest first, and a whole number of words."""
    import numpy as np

    content = np.packbits(lesion.reshape(-1), bitorder="little").tobytes()
    return content + bytes(len(content) % 2)


def _refer(made: FileDataset, image: FileDataset) -> None:
    series = _item(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedInstanceSequence=[_instance(image)])
    made.ReferencedSeriesSequence = [series]
    made.SegmentSequence = [
        _item(
            SegmentNumber=1, SegmentLabel="synthetic lesion", SegmentAlgorithmType="AUTOMATIC",
            SegmentAlgorithmName="painted by the demo",
            SegmentedPropertyCategoryCodeSequence=[_code("49755003", "Morphologically abnormal structure")],
            SegmentedPropertyTypeCodeSequence=[_code("52988006", "Lesion")],
        )
    ]  # fmt: skip
    made.SharedFunctionalGroupsSequence = [_shared(image)]
    made.PerFrameFunctionalGroupsSequence = [_frame(image)]
    organised = {"DimensionOrganizationUID": f"{image.SeriesInstanceUID[:-2]}9"}
    made.DimensionOrganizationSequence = [_item(**organised)]
    made.DimensionIndexSequence = [
        _item(**organised, DimensionIndexPointer=_SEGMENT_NUMBER, FunctionalGroupPointer=_SEGMENT_IDENTIFICATION)
    ]


def _shared(image: FileDataset) -> Dataset:
    spacing = {word: image[word].value for word in ("PixelSpacing", "SliceThickness") if word in image}
    groups: dict[str, Any] = {"PixelMeasuresSequence": [_item(**spacing)]}
    if "ImageOrientationPatient" in image:
        groups["PlaneOrientationSequence"] = [_item(ImageOrientationPatient=image.ImageOrientationPatient)]
    return _item(**groups)


def _frame(image: FileDataset) -> Dataset:
    groups: dict[str, Any] = {
        "SegmentIdentificationSequence": [_item(ReferencedSegmentNumber=1)],
        "FrameContentSequence": [_item(DimensionIndexValues=[1])],
        "DerivationImageSequence": [_derivation(image)],
    }
    if "ImagePositionPatient" in image:
        groups["PlanePositionSequence"] = [_item(ImagePositionPatient=image.ImagePositionPatient)]
    return _item(**groups)


def _derivation(image: FileDataset) -> Dataset:
    source = _instance(image)
    source.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation", "DCM")]
    return _item(SourceImageSequence=[source], DerivationCodeSequence=[_code("113076", "Segmentation", "DCM")])


def _instance(image: FileDataset) -> Dataset:
    return _item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def _code(value: str, meaning: str, scheme: str = "SCT") -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _item(**values: Any) -> Dataset:
    from pydicom.dataset import Dataset

    made = Dataset()
    for word, value in values.items():
        setattr(made, word, value)
    return made
