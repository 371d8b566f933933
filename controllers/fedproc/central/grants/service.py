"""The providers of this centre, and which of them is asked about which dataset."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from fedproc.central.grants.answers import Finding, NotAskedError, Person, Provider, Terms
from fedproc.central.grants.negotiator import Negotiator
from fedproc.central.grants.passport import Passports
from fedproc.central.settings import OPEN, AnyProvider, GrantSettings, NegotiatorSettings
from fedproc.common.errors import FedprocError, ForbiddenError, UnavailableError
from fedproc.common.log import get_logger

log = get_logger(__name__)

_SECONDS = 30.0
"""that one provider is waited for as a whole, however many pages its answer has"""
_AT_ONCE = 16
"""questions to one provider; more wait, and no longer than that"""


class Grants:
    """Asks the providers that the settings name. Raises :class:`InvalidInputError` for one that cannot be set up."""

    def __init__(self, settings: GrantSettings) -> None:
        self._settings = settings
        self._at_once = {name: asyncio.Semaphore(_AT_ONCE) for name in settings.providers}
        self._providers: dict[str, Provider] = {name: _made(entry) for name, entry in settings.providers.items()}

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()

    def guarded(self, datasets: Iterable[str]) -> list[str]:
        """Those (``HOST:id``) of which a provider is to be asked."""
        return [dataset for dataset in datasets if self._settings.provider_of(dataset) != OPEN]

    def ask_at(self, dataset: str) -> str:
        """Where access to it is asked for: an address or a sentence; empty if no provider is asked, or says none."""
        provider = self._settings.providers.get(self._settings.provider_of(dataset))
        return "" if provider is None else provider.ask_at

    async def ask(self, person: Person, datasets: Sequence[str]) -> dict[str, Finding]:
        """What the providers say of each guarded dataset; a fault of a provider's is an answer of it.

        Raises :class:`SessionEndedError`.
        """
        by_provider: dict[str, list[str]] = {}
        for dataset in self.guarded(datasets):
            by_provider.setdefault(self._settings.provider_of(dataset), []).append(dataset)
        answers = await asyncio.gather(*(self._of(name, person, asked) for name, asked in by_provider.items()))
        return {dataset: finding for found in answers for dataset, finding in found.items()}

    async def _of(self, name: str, person: Person, datasets: Sequence[str]) -> dict[str, Finding]:
        resources = {dataset: self._settings.resource_of(dataset) for dataset in datasets}
        try:
            found = await self._within_time(name, person, sorted(set(resources.values())))
        except NotAskedError as error:
            log.warning("grant.not_asked", provider=name, reason=error.message)
            return dict.fromkeys(datasets, Finding(name, "not_asked", f"provider {name}: {error.message}"))
        return {dataset: self._finding(name, found[resource]) for dataset, resource in resources.items()}

    async def _within_time(
        self, name: str, person: Person, resources: Sequence[str]
    ) -> Mapping[str, Sequence[Terms] | str]:
        try:
            async with asyncio.timeout(_SECONDS), self._at_once[name]:
                return await self._providers[name].ask(person, resources)
        except TimeoutError as error:
            raise NotAskedError(f"it gave no whole answer within {_SECONDS:g} s") from error

    def _finding(self, name: str, answered: Sequence[Terms] | str) -> Finding:
        where = self._settings.providers[name].ask_at
        cure = f"; ask for access: {where}" if where else "; ask the dataset's owner for access"
        if isinstance(answered, str):
            return Finding(name, "not_granted", f"{answered}{cure}")
        now = time.time()
        grants = tuple(terms for terms in answered if terms.until is None or terms.until > now)
        if not grants:
            ended = datetime.fromtimestamp(max(terms.until or 0.0 for terms in answered), UTC)
            return Finding(name, "not_granted", f"the grant ended on {ended:%Y-%m-%d %H:%M} UTC{cure}")
        return Finding(name, "granted", "", grants[0], grants)


def check(findings: Mapping[str, Finding]) -> None:
    """Let nothing but grants pass.

    Raises :class:`ForbiddenError` that names each dataset and where to ask for it, or :class:`UnavailableError`.
    """
    for answer, kind, code in _FAULTS:
        errors = [
            {"where": f"datasets.{dataset}", "what": finding.reason, "code": code}
            for dataset, finding in sorted(findings.items())
            if finding.answer == answer
        ]
        if errors:
            raise kind(_text(answer, errors), code=code, errors=errors)


_FAULTS: tuple[tuple[str, type[FedprocError], str], ...] = (
    ("not_granted", ForbiddenError, "grant.not_granted"),
    ("not_asked", UnavailableError, "grant.not_asked"),
)
_TOLD = 10


def _text(answer: str, errors: Sequence[Mapping[str, str]]) -> str:
    first = "; ".join(f"{e['where'].removeprefix('datasets.')}: {e['what']}" for e in errors[:_TOLD])
    more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
    if answer == "not_granted":
        return f"you may not use {first}{more}"
    return f"whether you may use it could not be asked, so nothing was started; try again: {first}{more}"


def _made(entry: AnyProvider) -> Provider:
    return Negotiator(entry) if isinstance(entry, NegotiatorSettings) else Passports(entry)
