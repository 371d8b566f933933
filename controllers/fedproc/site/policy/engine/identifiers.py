"""Names and values that stand for single patients, wherever they are written."""

from __future__ import annotations

import re

_NAMES = (
    "patient", "patient_id", "patientid", "patient_name", "patientname", "patients_name", "patient_birth_date",
    "patientbirthdate", "subject_id", "subjectid", "subject_label", "person_id", "personid", "mrn", "nhs_number",
    "medical_record_number", "case_id", "caseid", "pseudonym", "accession_number", "accessionnumber", "study_id",
    "studyinstanceuid", "study_instance_uid", "seriesinstanceuid", "series_instance_uid", "sopinstanceuid",
    "sop_instance_uid", "studyuid", "seriesuid", "sopuid", "date_of_birth", "birth_date", "dob", "social_security",
)  # fmt: skip
_WORDS = frozenset(name.replace("_", "") for name in _NAMES)
_HEADS = re.compile(r'"([^"\\\n]{2,40})"\s*:|(?:^|[,;\t|])\s*"?([A-Za-z][A-Za-z0-9 _.\-]{1,39})"?\s*(?=[,;\t|\r\n]|$)')
_UID = re.compile(r"(?<![\d.])[012](?:\.(?:0|[1-9]\d{0,38})){6,}(?![\d.])")


def is_identifier(name: str) -> bool:
    """Whether a field or a column of this name identifies patients, however it is spelled."""
    return re.sub(r"[^a-z0-9]", "", name.lower()) in _WORDS


def identifies(text: str) -> bool:
    """Whether a document has a key or a column like a patient's id, or a DICOM UID as a value."""
    first, _, _ = text.partition("\n")
    keys = (found[1] or found[2] for found in _HEADS.finditer(first))
    more = (found[1] for found in _HEADS.finditer(text) if found[1])
    return any(map(is_identifier, keys)) or any(map(is_identifier, more)) or _UID.search(text) is not None
