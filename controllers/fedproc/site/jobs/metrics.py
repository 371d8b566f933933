"""What of a running task's metrics leaves its host: nobody releases them, so no more than its manifest declares."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from fedproc.common.log import Logger
from fedproc.common.text import escaped
from fedproc.contract.tool.metrics import MetricDecl
from fedproc.site.policy.policy_file import Policy

LINE = 4096
"""bytes of a line that are looked at"""
_DIGITS = 4
_NAMES, _NAME = 10, 48
"""so many undeclared names are told in the host's log, and so much of each"""
_MINUTE = 60.0


class MetricFilter:
    """Lets finite numbers under declared names through, rounded to 4 digits, and so many lines as the policy says.

    The last line always leaves, at the end (:meth:`ending`), as the last of those that the policy has for a job. What
    it keeps back is counted, and told to the site alone: :meth:`report`.
    """

    def __init__(self, declared: Iterable[MetricDecl], now: Callable[[], float] = time.monotonic) -> None:
        self._declared = frozenset(metric.name for metric in declared)
        self._now = now
        self._left, self._since = math.inf, now()
        self._undeclared: Counter[str] = Counter()
        self._withheld: Counter[str] = Counter()
        self._newest: dict[str, int | float] | None = None
        """the line that came last, while it is held back for want of room"""

    def passed(self, lines: Iterable[bytes], policy: Policy, sent: int) -> list[dict[str, int | float]]:
        """What may leave of these lines, when so many of the job were ``sent`` before."""
        passed: list[dict[str, int | float]] = []
        for line in lines:
            if not (numbers := self._numbers(line)):
                continue
            if sent + len(passed) < policy.metrics_per_job - 1 and self._has_room(policy.metrics_per_minute):
                passed.append(numbers)
                self._newest = None
            else:
                self._withheld["lines_beyond_the_limits"] += 1
                self._newest = numbers
        return passed

    def ending(self, policy: Policy, sent: int) -> list[dict[str, int | float]]:
        """The last line, if it was held back: there is room for it among those of a job, however fast they came."""
        held, self._newest = self._newest, None
        if held is None or sent >= policy.metrics_per_job:
            return []
        self._withheld["lines_beyond_the_limits"] -= 1
        self._withheld += Counter()  # what is none is not told
        return [held]

    def report(self, log: Logger) -> None:
        """Say in the host's log what was kept back since this was called last, if anything was."""
        if self._withheld:
            names = [escaped(name)[:_NAME] for name in self._undeclared]
            log.warning("metrics.withheld", **self._withheld, names=names)
        self._undeclared.clear()
        self._withheld.clear()

    def _numbers(self, line: bytes) -> dict[str, int | float]:
        try:
            found = json.loads(line[:LINE])
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._withheld["lines_of_no_object"] += 1
            return {}
        rounded = {name: _rounded(value) for name, value in found.items() if self._is_declared(name)}
        self._withheld.update({"no_finite_numbers": 1} if None in rounded.values() else {})
        return {name: value for name, value in rounded.items() if value is not None}

    def _is_declared(self, name: str) -> bool:
        if name in self._declared:
            return True
        self._withheld["undeclared"] += 1
        if name in self._undeclared or len(self._undeclared) < _NAMES:
            self._undeclared[name] += 1
        return False

    def _has_room(self, rate: int) -> bool:
        """A minute's lines may come at once; after that, as many as time passes."""
        now = self._now()
        self._left = min(rate, self._left + (now - self._since) * rate / _MINUTE)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _rounded(value: Any) -> int | float | None:
    """To 4 significant digits; None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        rounded = float(f"{value:.{_DIGITS}g}")
    except OverflowError:
        return None
    if not math.isfinite(rounded):
        return None
    return int(rounded) if isinstance(value, int) and rounded.is_integer() and abs(rounded) < 2**53 else rounded
