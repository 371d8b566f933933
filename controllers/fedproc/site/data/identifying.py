"""What in a DICOM file may tell who a person is (PS3.15, annex E): found by the elements, never by the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

KINDS = {
    "patient_name": "PatientName is there, and is not the PatientID",
    "birth_date": "PatientBirthDate is there",
    "contact": "addresses, telephone numbers, other names or other ids of the patient are there",
    "staff": "names of physicians or operators are there",
    "institution": "name or address of an institution is there",
    "private_tags": "private elements are there, which may hold anything",
    "burned_in": "BurnedInAnnotation says that there is text in the pixels",
    "burned_in_unknown": "pixels of this kind often have text in them, and BurnedInAnnotation does not say NO",
    "unreadable": "what cannot be read here cannot be looked at",
    "unreadable_dicom": "DICOM that cannot be read here cannot be looked at",
}
"""what a site may accept, in ``dataset.json``, with what it means"""

_GROUPS = {
    "birth_date": ("PatientBirthDate",),
    "contact": ("PatientAddress", "PatientTelephoneNumbers", "OtherPatientIDs", "OtherPatientNames",
                "PatientMotherBirthName", "PatientBirthName", "MilitaryRank"),
    "staff": ("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "NameOfPhysiciansReadingStudy",
              "RequestingPhysician"),
    "institution": ("InstitutionName", "InstitutionAddress"),
}  # fmt: skip
WORDS = ("PatientName", "PatientID", "PatientIdentityRemoved", "BurnedInAnnotation", "Modality",
         *(word for group in _GROUPS.values() for word in group))  # fmt: skip
"""elements that are looked at"""

_OFTEN_WITH_TEXT = frozenset({"US", "SC", "OT", "ES", "XC", "GM", "DOC", "IVUS"})
_REMOVED = frozenset({"", "ANON", "ANONYMIZED", "ANONYMISED", "ANONYMOUS", "REMOVED", "NONE", "DE-IDENTIFIED"})


@dataclass
class Seen:
    """Which elements a file has."""

    private: int = 0

    def add(self, tag: int) -> None:
        """One element, by its number."""
        self.private += (tag >> 16) & 1


def identifying_in(value: Callable[[str], str], seen: Seen) -> Iterator[tuple[str, str]]:
    """Codes of :data:`KINDS` with what was found; no value is quoted. ``value`` gives an element's text by its name."""
    name = value("PatientName").replace("^", " ").strip()
    dummy = name.upper() in _REMOVED or value("PatientIdentityRemoved") == "YES"
    if not dummy and name != value("PatientID"):
        yield "patient_name", KINDS["patient_name"]
    for kind, group in _GROUPS.items():
        if there := [word for word in group if value(word).upper() not in _REMOVED]:
            yield kind, f"has {', '.join(there)}"
    if seen.private:
        yield "private_tags", f"has {seen.private} private elements"
    burned = value("BurnedInAnnotation")
    if burned == "YES":
        yield "burned_in", KINDS["burned_in"]
    elif burned != "NO" and value("Modality") in _OFTEN_WITH_TEXT:
        yield "burned_in_unknown", KINDS["burned_in_unknown"]
