"""Texts that may tell of one person: names, numbers of persons, addresses, dates, free text.

The categories of a description are seen outside, so what may be such a text is not proposed as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from fedproc.tables.problems import quoted

RARE = 5
"""rows: fewer may be a single person's"""
_LONG = 40
_WORDS = 5
_HEADERS = frozenset({
    "name", "names", "surname", "firstname", "lastname", "forename", "vorname", "nachname", "familienname", "nombre",
    "apellido", "apellidos", "nom", "prenom", "prénom", "cognome", "nome", "sobrenome", "id", "pid", "patientid", "mrn",
    "nhc", "ssn", "dni", "nif", "email", "mail", "phone", "telephone", "telefon", "telefono", "teléfono", "address",
    "adresse", "direccion", "dirección", "indirizzo", "street", "strasse", "straße", "comment", "comments",
    "comentario", "comentarios", "kommentar", "commentaire", "remark", "remarks", "bemerkung", "bemerkungen",
    "observaciones", "notes", "freitext", "freetext",
})  # fmt: skip
_HEADER_WORD = re.compile(r"[A-ZÀ-Þ]?[a-zß-ÿ]+|[A-ZÀ-Þ]+(?![a-zß-ÿ])")
_OF_PERSONS = re.compile(
    r"(?i)(pat(ient(en|e)?)?|subj(ect)?|person|proband|participant|case|fall)[ ._-]*"
    r"(id|ident\w*|nr|no|num(ber)?|nummer|key|code|pseudonym)?\.?|id|pid|mrn|nhc"
)
"""headers of a column that says whose a row is"""
_CERTAIN = re.compile(r"\S+@\S+\.\w+|(dr|prof|herr|frau|mr|mrs|ms|sra?|mme|sig)\.? +\S.*", re.IGNORECASE | re.DOTALL)
_LIKELY = re.compile(
    r"[A-Za-z]{1,8}[-_/. ]?(0[0-9]{2,}|[0-9]{4,})"  # a number with letters before it
    r"|\+?[0-9][0-9 ()/-]{7,}"  # of a telephone
    r"|[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}.*"  # a date
    r"|[A-ZÀ-Þ][\w'’-]+, ?[A-ZÀ-Þ][\w'’. -]+"  # Surname, Name
)
_TWO_NAMES = re.compile(r"[A-ZÀ-Þ][\w'’-]+( [A-ZÀ-Þ][\w'’.-]*){1,2}")


def may_tell_of_persons(header: str, rows: Mapping[str, int]) -> bool:
    """Whether the texts of a column may, by its header and in how many rows each of them stands."""
    if any(_is_certain(text) for text in rows) or _HEADERS & set(map(str.casefold, _HEADER_WORD.findall(header))):
        return True
    likely = sum(_is_likely(text, count) for text, count in rows.items())
    single = sum(count == 1 for count in rows.values())
    return 3 * likely >= len(rows) or 2 * single > len(rows)


def repeated_persons(cells: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A note on the first column that seems to say whose a row is, where persons have several rows."""
    for header, column in cells.items():
        texts = [text.strip() for text in column]
        different = len(set(texts))
        if _OF_PERSONS.fullmatch(header.strip()) and all(texts) and RARE < different < len(texts):
            yield (
                f"column {quoted(header)}: {len(texts)} rows have {different} different texts: if it says whose a row"
                f' is, write "person": "{header.strip()}" beside the columns; unless given, each row is a person'
            )
            return


def _is_certain(text: str) -> bool:
    return len(text) > _LONG or len(text.split()) > _WORDS or _CERTAIN.fullmatch(text) is not None


def _is_likely(text: str, count: int) -> bool:
    return bool(_LIKELY.fullmatch(text)) or (count < RARE and bool(_TWO_NAMES.fullmatch(text)))
