"""What is wrong across the files of a dataset, found by its index: no file says it by itself."""

from __future__ import annotations

import sqlite3

SCHEMA = """
CREATE TABLE across (path BLOB NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (path, code))
    WITHOUT ROWID;
CREATE TABLE series (
    series TEXT PRIMARY KEY, study TEXT, patient TEXT, modality TEXT, body_part TEXT, manufacturer TEXT, sex TEXT,
    age REAL, date TEXT, files INTEGER NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX series_patient ON series (patient);
CREATE INDEX series_study ON series (study);
"""

PERSON = "COALESCE(patient, '')"
"""whose a series is, in SQL: all without PatientID may be one person's, and count as one"""

_SERIES = """
INSERT INTO series
SELECT series, MIN(study), MIN(patient), MIN(modality), MIN(body_part), MIN(manufacturer), MIN(sex), MIN(age),
       MIN(date), COUNT(*), SUM(size)
FROM files WHERE series IS NOT NULL GROUP BY series"""

_MIXED = """
INSERT INTO across
SELECT f.path, 'mixed_series', 'is in a series that has ' || m.what
FROM files f JOIN (
    SELECT series, CASE WHEN COUNT(DISTINCT patient) > 1 THEN 'several patients'
                        WHEN COUNT(DISTINCT study) > 1 THEN 'several studies'
                        ELSE 'several modalities' END AS what
    FROM files WHERE series IS NOT NULL GROUP BY series
    HAVING COUNT(DISTINCT patient) > 1 OR COUNT(DISTINCT study) > 1 OR COUNT(DISTINCT modality) > 1
) m ON f.series = m.series"""

_DOUBLED = """
INSERT INTO across
SELECT f.path, 'duplicate_uid', 'has the SOPInstanceUID of ' || shown(d.first)
FROM files f JOIN (
    SELECT instance, MIN(path) AS first FROM files WHERE instance IS NOT NULL GROUP BY instance HAVING COUNT(*) > 1
) d ON f.instance = d.instance WHERE f.path <> d.first"""

_ABSENT = """
INSERT INTO across
SELECT r.path, 'series_absent', 'is a segmentation of series ' || MIN(r.series) || ', which is not in the dataset'
FROM refers r LEFT JOIN series s ON r.series = s.series WHERE s.series IS NULL GROUP BY r.path"""


def look_across(db: sqlite3.Connection) -> None:
    """Fill the tables ``series`` and ``across`` afresh, in the caller's transaction."""
    for table in ("across", "series"):
        db.execute(f"DELETE FROM {table}")  # noqa: S608 (names of ours)
    for statement in (_SERIES, _MIXED, _DOUBLED, _ABSENT):
        db.execute(statement)
