"""Picking entries of a log by what they are about: whatever belongs to an experiment of which any entry fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fedproc.common.tlog.entries import Entry

Reader = Callable[[], Iterable[Entry]]
"""gives the entries from the first one on, each time that it is called"""


@dataclass(frozen=True)
class Selection:
    """What is asked for; all that is given must fit. Times are ISO 8601 in UTC, or beginnings of such.

    ``dataset`` is an id or ``HOST:id``; ``tool`` an id or the beginning of a digest; ``user`` as the log names it.
    """

    job: str | None = None
    experiment: str | None = None
    dataset: str | None = None
    tool: str | None = None
    user: str | None = None
    project: str | None = None
    kind: str | None = None
    since: str | None = None
    until: str | None = None

    def of(self, read: Reader) -> Iterator[Entry]:
        """The entries that fit, in their order."""
        experiments = self._experiments(read)
        for entry in read():
            if self._is_of_time(entry) and self._is_about(entry, experiments):
                yield entry

    def _is_of_time(self, entry: Entry) -> bool:
        if self.since is not None and entry.at < self.since:
            return False
        return self.until is None or entry.at < self.until or entry.at.startswith(self.until)

    def _is_about(self, entry: Entry, experiments: set[str] | None) -> bool:
        if self.kind is not None and self.kind not in (entry.kind, entry.kind.partition(".")[0]):
            return False
        if self.job is not None and self.job not in _found(entry.data, "job"):
            return False
        return experiments is None or entry.data.get("experiment") in experiments or self._fits(entry)

    def _experiments(self, read: Reader) -> set[str] | None:
        """Those of which an entry fits; None if all are asked for."""
        if not any((self.experiment, self.dataset, self.tool, self.user, self.project)):
            return None
        return {str(entry.data["experiment"]) for entry in read() if "experiment" in entry.data and self._fits(entry)}

    def _fits(self, entry: Entry) -> bool:
        data = entry.data
        wanted = ((self.experiment, "experiment"), (self.user, "user"), (self.project, "project"))
        if any(value is not None and value not in _found(data, name) for value, name in wanted):
            return False
        return self._has_dataset(data) and self._has_tool(data)

    def _has_dataset(self, data: Any) -> bool:
        if self.dataset is None:
            return True
        names = {str(one.get("id")) for many in _found(data, "datasets") for one in many if isinstance(one, dict)}
        return self.dataset in names or self.dataset in {name.rpartition(":")[2] for name in names}

    def _has_tool(self, data: Any) -> bool:
        if self.tool is None:
            return True
        tools = [tool for tool in _found(data, "tool") if isinstance(tool, dict)]
        return any(
            self.tool == tool.get("id") or str(tool.get("digest", "")).removeprefix("sha256:").startswith(self.tool)
            for tool in tools
        )


def _found(data: Any, name: str) -> list[Any]:
    """All values under this name, however deep."""
    if isinstance(data, dict):
        own = [data[name]] if name in data else []
        return own + [value for inner in data.values() for value in _found(inner, name)]
    if isinstance(data, list):
        return [value for inner in data for value in _found(inner, name)]
    return []
