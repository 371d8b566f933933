"""Names and values that stand for single patients, wherever they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

_NAMES = (
    "patient", "patient_id", "patientid", "patient_name", "patientname", "patients_name", "patient_birth_date",
    "patientbirthdate", "subject_id", "subjectid", "subject_label", "person_id", "personid", "mrn", "nhs_number",
    "medical_record_number", "case_id", "caseid", "pseudonym", "accession_number", "accessionnumber", "study_id",
    "studyinstanceuid", "study_instance_uid", "seriesinstanceuid", "series_instance_uid", "sopinstanceuid",
    "sop_instance_uid", "studyuid", "seriesuid", "sopuid", "date_of_birth", "birth_date", "dob", "social_security",
)  # fmt: skip
_WORDS = frozenset(name.replace("_", "") for name in _NAMES)
_LONGEST = 60
"""characters of a name that is looked at"""
_KEY = re.compile(r'"([^"\\\n]{2,60})"[ \t\r\n]{0,9}:')
_UID = re.compile(r"(?<![\d.])[012](?:\.(?:0|[1-9]\d{0,38})){6,}(?![\d.])")


def is_identifier(name: str) -> bool:
    """Whether a field or a column of this name identifies patients, however it is spelled."""
    return len(name) <= _LONGEST and re.sub(r"[^a-z0-9]", "", name.lower()) in _WORDS


def identifies(text: str) -> bool:
    """Whether a text has a key or a column like a patient's id, or a DICOM UID as a value.

    Each of its characters is looked at a few times at most, whatever the text.
    """
    first, _, _ = text.partition("\n")
    heads = re.split(r"[,;\t|]", first)
    keys = (found[1] for found in _KEY.finditer(text))
    return any(map(is_identifier, chain(heads, keys))) or _UID.search(text) is not None


def names_patients(document: Any) -> bool:
    """The same of a document that was read: its keys, however they are written, and its texts."""
    return any(is_identifier(text) if is_key else _UID.search(text) for text, is_key in _texts(document))


def _texts(content: Any) -> Iterator[tuple[str, bool]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, True
            yield key, False
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)
    elif isinstance(content, str):
        yield content, False
