"""When is asked: before an experiment starts, and again for the job of one host."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedproc.central.grants.answers import Finding, NotAskedError, Person, SessionEndedError
from fedproc.central.grants.conditions import as_ordered
from fedproc.central.grants.delegations import Delegations
from fedproc.central.grants.exchange import HostToken
from fedproc.central.grants.projects import chosen
from fedproc.central.grants.service import Grants, check
from fedproc.common.errors import InvalidTokenError, UnavailableError
from fedproc.common.log import get_logger

log = get_logger(__name__)

_NOT_HELD = (
    "this centre cannot ask again whether you may use guarded datasets, so nothing was started: its issuer exchanges "
    "no tokens for it; tell the operator (client_key, token exchange: docs/identity.md)"
)


@dataclass(frozen=True)
class Again:
    """What is found of one job. ``ended``: why the user's session is over; then nobody was asked.

    ``not_exchanged``: why the host gets no token though the session goes on.
    """

    findings: Mapping[str, Finding] = field(default_factory=dict)
    ended: str | None = None
    not_exchanged: str | None = None
    token: HostToken | None = None


class GrantChecks:
    """Asks the providers in the name of the user; ``issuer`` is the address of the one whose subjects users are."""

    def __init__(self, grants: Grants, delegations: Delegations, issuer: str) -> None:
        self._grants = grants
        self._delegations = delegations
        self._issuer = issuer

    async def close(self) -> None:
        await self._grants.close()

    def guarded(self, datasets: Sequence[str]) -> list[str]:
        """Those of which a provider is to be asked."""
        return self._grants.guarded(datasets)

    async def ask_now(self, sub: str, token: str, datasets: Sequence[str], seconds: float) -> dict[str, Finding]:
        """What is said within ``seconds`` of those of which somebody is to be asked. It is no check: see at_start."""
        guarded = self._grants.guarded(datasets)
        try:
            async with asyncio.timeout(seconds):
                return await self._grants.ask(self._person(sub, token), guarded)
        except TimeoutError:
            return dict.fromkeys(guarded, Finding("", "not_asked", f"there was no answer within {seconds:g} s"))
        except (NotAskedError, SessionEndedError) as error:
            return dict.fromkeys(guarded, Finding("", "not_asked", error.message))

    def ask_at(self, dataset: str) -> str:
        """Where access to a guarded dataset is asked for, as its provider's settings say it."""
        return self._grants.ask_at(dataset)

    async def at_start(
        self, sub: str, token: str, datasets: Sequence[str], stated: Mapping[str, str | None]
    ) -> tuple[dict[str, Finding], str]:
        """The grants of the user, whose own token this is; and the user's session, to be kept with the experiment.

        ``stated``: project, permit and purpose as the user writes them. Raises as :func:`check` and :func:`chosen` do,
        :class:`InvalidTokenError` for a session that has ended, and :class:`UnavailableError` where none can be held:
        no host could ask again, and each would end its job.
        """
        try:
            findings = await self._grants.ask(self._person(sub, token), datasets)
            check(findings)
            findings = chosen(findings, stated)
            session = await self._delegations.begin(token)
        except SessionEndedError as error:
            raise InvalidTokenError(error.message) from error
        except NotAskedError as error:
            raise UnavailableError(f"{error.message}; nothing was started", code=error.code) from error
        if session is None:
            raise UnavailableError(_NOT_HELD, code="grant.no_session")
        return findings, session

    async def asked(
        self, sub: str, token: str, datasets: Sequence[str], stated: Mapping[str, str | None]
    ) -> dict[str, Finding]:
        """What the providers say now; nothing follows from it. Raises :class:`InvalidTokenError`, and as
        :func:`chosen` does."""
        try:
            return chosen(await self._grants.ask(self._person(sub, token), datasets), stated)
        except SessionEndedError as error:
            raise InvalidTokenError(error.message) from error

    async def again(
        self, experiment: str, sub: str, datasets: Sequence[str], host: str, ordered: Sequence[Mapping[str, Any]]
    ) -> Again:
        """Ask once more in the name of the user about the datasets of a job at the host, and exchange a token for the
        host alone if all is granted as it was in the job's order (``ordered``: its grants)."""
        if not self._grants.guarded(datasets):
            return Again()
        try:
            token = await self._delegations.access(experiment)
            findings = as_ordered(await self._grants.ask(self._person(sub, token), datasets), host, ordered)
        except SessionEndedError as error:
            return Again(ended=error.message)
        except NotAskedError as error:
            return Again({name: Finding("issuer", "not_asked", error.message) for name in datasets})
        if any(finding.answer != "granted" for finding in findings.values()):
            return Again(findings)
        return await self._exchanged(findings, token, f"host-{host}", sub)

    async def _exchanged(self, findings: Mapping[str, Finding], token: str, audience: str, sub: str) -> Again:
        try:
            return Again(findings, token=await self._delegations.exchange.for_audience(token, audience, sub))
        except SessionEndedError as error:
            return Again(ended=error.message)
        except NotAskedError as error:
            log.warning("grant.no_token", audience=audience, reason=error.message)
            return Again(findings, not_exchanged=error.message)

    def _person(self, sub: str, token: str) -> Person:
        async def of_audience(audience: str | None) -> str:
            if audience is None:
                return token
            return (await self._delegations.exchange.for_audience(token, audience, sub)).token

        return Person(sub, self._issuer, of_audience)
