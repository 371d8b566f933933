"""What each message is that a task sends over a connection: declared, so that its host can look into it.

A message is the body of an HTTP/1.1 POST, one JSON document. Its schema leaves no room for what nobody declared, as
that of an output (:mod:`fedproc.contract.tool.closed_schema`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self, cast

from pydantic import Field, model_validator

from fedproc.contract.plain import plain_json
from fedproc.contract.tool.closed_schema import leaves_of, problems
from fedproc.contract.tool.description import Model
from fedproc.contract.tool.json_schema import check_schema
from fedproc.contract.tool.statistics import FieldPath, StatisticDecl

MOST_MB = 32.0


@dataclass(frozen=True)
class _Numbers:
    """Numbers at a path, for :func:`problems`, which asks a statistic for its fields."""

    at: str
    values: tuple[str, ...]

    def fields(self) -> tuple[str, ...]:
        return self.values


class MessageDecl(Model):
    """The messages of one connection. ``json_schema`` is that of every one of them: ``oneOf`` where they differ."""

    path: str = Field(pattern=r"^(/[A-Za-z0-9_.-]{1,64}){1,8}$", description="of the POST")
    most_mb: float = Field(MOST_MB, gt=0, le=MOST_MB, description="MB (10^6 bytes) of one message")
    json_schema: dict[str, Any]
    statistics: tuple[StatisticDecl, ...] = Field((), max_length=50, description="whose counts the site's floor is for")
    numbers: tuple[FieldPath, ...] = Field(
        (),
        max_length=50,
        description="other fields of numbers, with those below them: nobody looks at their digits",
    )

    @property
    def most_bytes(self) -> int:
        return int(self.most_mb * 1_000_000)

    @model_validator(mode="after")
    def _closed(self) -> Self:
        plain_json(self.json_schema)
        check_schema(self.json_schema, "json_schema")
        if found := next(self._problems(), None):
            raise ValueError(f"json_schema: {found}")
        return self

    def _problems(self) -> Iterator[str]:
        split = [path.rpartition(".") for path in self.numbers]
        counted: list[StatisticDecl | _Numbers] = [*self.statistics, *(_Numbers(at, (name,)) for at, _, name in split)]
        yield from problems(self.json_schema, cast(list[StatisticDecl], counted))
        there = {place.path for place in leaves_of(self.json_schema)}
        named = {f"{each.at}.{name}".lstrip(".") for each in counted for name in each.fields()}
        for path in sorted(named):
            if not any(place == path or place.startswith((f"{path}.", f"{path}[", f"{path}{{")) for place in there):
                yield f"there is no {path} in it"
