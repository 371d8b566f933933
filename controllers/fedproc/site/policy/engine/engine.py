"""One output against all rules: its files' names, sizes and kinds, then what each holds."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedproc.common.files import files_below
from fedproc.common.log import get_logger
from fedproc.common.tasks import StopFlag, StoppedError
from fedproc.contract.tool.declared import problems_of
from fedproc.contract.tool.statistics import StatisticDecl
from fedproc.contract.tool.task import Disclosure, OutputDecl
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.cells import Table, of_tables, of_what_stands_beside, tables_of
from fedproc.site.policy.engine.counts import TABLES, Against, of_nested, of_subject, refused, to_review
from fedproc.site.policy.engine.estimates import of_estimates
from fedproc.site.policy.engine.findings import Finding, Result
from fedproc.site.policy.engine.identifiers import identifies, names_patients
from fedproc.site.policy.engine.kinds import HEAD, IMAGES_OF_PATIENTS, PICTURES, kind_of
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.engine.layout import is_laid_out
from fedproc.site.policy.engine.models import of_model
from fedproc.site.policy.engine.objects import concerns, subjects, unaccounted
from fedproc.site.policy.engine.room import chosen_bits
from fedproc.site.policy.engine.schema import difference_of
from fedproc.site.policy.engine.strict_json import strictly
from fedproc.site.policy.engine.tables import rows_of
from fedproc.site.policy.engine.undeclared import of_undeclared

log = get_logger(__name__)

_NUMBER = re.compile("[0-9]{1,4}")
_LARGEST = int(rules.BYTES.threshold or 0)


@dataclass(frozen=True)
class _Given:
    """By what one output is looked at."""

    floor: int
    known: Known
    is_alone: bool


def inspect_all(
    outputs: Sequence[OutputDecl], sealed: Path, floor: int, known: Known, flag: StopFlag
) -> Iterator[tuple[OutputDecl, list[Finding]]]:
    """All outputs of one task, whose files lie in ``sealed``/NAME, as :func:`inspect` has each."""
    for output in outputs:
        is_alone = not any(each.statistics or each.content is None for each in outputs if each is not output)
        yield output, inspect(output, sealed / output.name, floor, known, flag, is_alone=is_alone)


def inspect(
    output: OutputDecl, folder: Path, floor: int, known: Known, flag: StopFlag | None = None, *, is_alone: bool = True
) -> list[Finding]:
    """All that the rules have against the sealed files in ``folder``, each thing once; blocks.

    ``floor`` is the least number of persons; never below ``disclosure_rules.LOWEST_FLOOR``.
    ``is_alone`` is whether no other output of the task can count persons.
    Raises StoppedError between two files once ``flag`` is set, and :class:`OSError`.
    """
    try:
        found = _of_output(output, folder, _Given(max(floor, rules.LOWEST_FLOOR), known, is_alone), flag or StopFlag())
    except (StoppedError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, a person looks
        log.error("release.not_checked", output=output.name, error=type(error).__name__, at=_last_line(error))
        found = [to_review(rules.CHECKED, "it could not be checked: the rules have a fault with it")]
    return [Finding(output.name, each.rule, each.result, each.text) for each in dict.fromkeys(found)]


def _last_line(error: Exception) -> str:
    """Where it was raised; its text may hold what the document does."""
    frames = list(traceback.walk_tb(error.__traceback__))
    frame, line = frames[-1]
    return f"{frame.f_globals.get('__name__', '')}:{line}"


def _of_output(output: OutputDecl, folder: Path, given: _Given, flag: StopFlag) -> list[Against]:
    files = files_below(folder)
    found = [*_of_declaration(output), *_of_names(output, [path.relative_to(folder).as_posix() for path in files])]
    for path in files:
        flag.check()
        found += _of_file(output, path, given if len(files) == 1 else replace(given, is_alone=False))
    return found


def _of_declaration(output: OutputDecl) -> Iterator[Against]:
    if output.content is None:
        yield to_review(rules.DECLARED, "the tool does not declare what it holds (content)")
    elif problems_of(output):
        yield to_review(rules.DECLARED, "what the tool declares of it leaves room for more; see fedproc catalog check")
    if output.disclosure is Disclosure.individual:
        yield to_review(rules.BY_EYE, "it is about single persons")


def _of_names(output: OutputDecl, names: list[str]) -> Iterator[Against]:
    if len(names) > (rules.FILES.threshold or 0):
        yield to_review(rules.FILES, f"more than {rules.FILES.threshold:g} files")
    if output.folder and output.content is not None:
        patterns = [f"{output.path}/{name}".partition("#") for name in output.content.files]
        if not all(any(_is_named(name, *pattern) for pattern in patterns) for name in names):
            yield refused(rules.NAMES, "a file has a name that is not declared")


def _is_named(name: str, begin: str, number: str, end: str) -> bool:
    if not number:
        return name == begin
    inner = name.removeprefix(begin).removesuffix(end)
    return name == f"{begin}{inner}{end}" and _NUMBER.fullmatch(inner) is not None


def _of_file(output: OutputDecl, path: Path, given: _Given) -> Iterator[Against]:
    with path.open("rb") as source:
        kind = kind_of(source.read(HEAD))
    if kind in IMAGES_OF_PATIENTS:
        result = Result.review if output.disclosure is Disclosure.individual else Result.refuse
        yield Against(rules.KIND, result, "a file is an image of a patient (DICOM, NIfTI)")
    declared = output.content.type if output.content and not problems_of(output) else None
    if path.stat().st_size > _LARGEST and declared != "model":
        yield to_review(rules.BYTES, f"a file is larger than {_LARGEST >> 20} MiB")
    elif declared in ("json", "csv"):
        yield from _of_document(output, path.read_bytes(), kind, given)
    elif declared is None:
        yield from of_undeclared(output, path.read_bytes(), kind, given.floor)
    else:
        yield from _of_what_people_see(output, path, kind, given.known)


def _of_what_people_see(output: OutputDecl, path: Path, kind: str | None, known: Known) -> Iterator[Against]:
    declared = output.content.type if output.content else None
    if declared == "model":
        yield from of_model(path, known)
    elif (declared == "image" and kind not in PICTURES) or (declared == "text" and kind is not None):
        yield refused(rules.KIND, f"a file is not of the declared type {declared}")
    if declared == "text" and identifies(path.read_bytes().decode("utf-8", "replace")):
        yield refused(rules.IDENTIFIERS, "a name or a value in it stands for single patients")
    yield to_review(rules.BY_EYE, f"no rule tells what is in a file of type {declared}")


# -- documents -------------------------------------------------------------------------------------------


def _of_document(output: OutputDecl, raw: bytes, kind: str | None, given: _Given) -> Iterator[Against]:
    declared = output.content.type if output.content else None
    if kind is not None:
        yield refused(rules.KIND, f"a file is not of the declared type {declared}")
        return
    try:
        document = _read(output, raw)
    except ValueError as error:
        yield refused(rules.STRICT, f"a file cannot be read as strictly as its declared type has it: {error}")
        return
    if names_patients(document):
        yield refused(rules.IDENTIFIERS, "a name or a value in it stands for single patients")
    schema = output.content.schema_of_document() if output.content else None
    if schema is None or (difference := difference_of(document, schema, given.known)) is not None:
        names = given.known.with_names()
        if schema is None or not given.known.elsewhere or difference_of(document, schema, names) is not None:
            where = f", at {difference}" if schema and difference else ""
            yield refused(rules.SCHEMA, f"a file is otherwise than its declared schema says{where}")
            return
        yield to_review(rules.ELSEWHERE, "it has a name of datasets at other hosts, which this host does not know")
    if declared == "json" and not is_laid_out(raw.decode(), document):
        yield to_review(rules.LAYOUT, "a file has blanks or escapes that no library writes: json.dumps would do")
    statistics = [each.at_rows() for each in output.statistics] if isinstance(document, list) else output.statistics
    if chosen_bits(document, schema, statistics, given.known) > (rules.ROOM.threshold or 0):
        yield to_review(rules.ROOM, "a file has many values to choose from that no statistic accounts for")
    yield from _of_statistics(statistics, document, given)


def _read(output: OutputDecl, raw: bytes) -> Any:
    assert output.content is not None
    return rows_of(raw, output.content) if output.content.type == "csv" else strictly(raw)


def _of_statistics(statistics: Sequence[StatisticDecl], document: Any, given: _Given) -> Iterator[Against]:
    """What the rules have against the declared statistics of a document that is as its schema says."""
    floor = given.floor
    if unaccounted(document, statistics):
        yield refused(rules.PRESENT, "a field of a statistic stands without the statistic's others")
    counting = {statistic.persons for statistic in statistics}
    tables: list[Table] = []
    counted: set[int] = set()
    for statistic in statistics:
        here = [subject for subject in subjects(document, statistic.at) if concerns(statistic, subject.fields)]
        against = [each for subject in here for each in of_subject(statistic, subject, floor)]
        yield from against
        if any(each.rule is rules.PRESENT for each in against):
            continue
        yield from of_estimates(statistic, here, floor)
        counted |= {id(subject.fields) for subject in here if subject.fields.get(statistic.persons) is not None}
        if statistic.statistic not in TABLES:
            yield from (each for subject in here for each in of_nested(statistic, subject, counting, floor))
        else:
            found, twice = tables_of(statistic, here, counting)
            tables += found
            yield from twice
    yield from of_what_stands_beside(tables, counted, given.is_alone)
    yield from of_tables(tables, floor)
