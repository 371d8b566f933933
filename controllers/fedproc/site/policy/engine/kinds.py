"""What a file is, by its bytes and whatever its name says."""

from __future__ import annotations

import re

HEAD = 4096
"""bytes that are looked at"""

IMAGES_OF_PATIENTS = frozenset({"dicom", "nifti"})
PICTURES = frozenset({"png", "jpeg"})
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "dicom"),
    (344, b"n+1\0", "nifti"), (344, b"ni1\0", "nifti"), (4, b"n+2\0", "nifti"), (4, b"ni2\0", "nifti"),
    (0, b"\x1f\x8b", "archive"), (0, b"PK\x03\x04", "archive"), (0, b"PK\x05\x06", "archive"),
    (0, b"BZh", "archive"), (0, b"\xfd7zXZ\0", "archive"), (0, b"7z\xbc\xaf\x27\x1c", "archive"),
    (0, b"\x28\xb5\x2f\xfd", "archive"), (0, b"Rar!", "archive"), (257, b"ustar", "archive"),
    (0, b"\x89PNG\r\n\x1a\n", "png"), (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x93NUMPY", "npy"), (0, b"\x89HDF\r\n\x1a\n", "hdf5"), (0, b"PAR1", "parquet"),
    (0, b"SQLite format 3\0", "database"), (0, b"\x7fELF", "program"), (0, b"#!", "program"), (0, b"%PDF", "pdf"),
    (0, b"NRRD", "nifti"), (0, b"II*\0", "tiff"), (0, b"MM\0*", "tiff"), (0, b"GIF8", "gif"),
)  # fmt: skip
_PICKLE = re.compile(rb"\x80[\x02-\x05]|\(dp|\(lp|c[a-z_.]+\n[A-Za-z_]+\n|ccopy_reg\n")
_BARE_DICOM = re.compile(rb"[\x02\x08]\0[\x00-\xff]\0(UI|CS|UL|[\x00-\xff]{2}\0\0)", re.DOTALL)
_MARKUP = re.compile(rb"<\s*(!doctype\s+html|html|svg|script|iframe|\?xml|body|img)\b|data:[a-z]+/", re.IGNORECASE)


def kind_of(head: bytes) -> str | None:
    """``dicom``, ``archive``, ``pickle``, ``markup`` and so on; None for what may be plain text or numbers."""
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if _PICKLE.match(head):
        return "pickle"
    if _BARE_DICOM.match(head):
        return "dicom"
    if _MARKUP.search(head):
        return "markup"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        return "binary"
    return None
