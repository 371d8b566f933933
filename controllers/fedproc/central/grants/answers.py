"""What a provider says of one dataset, and whom it is asked about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fedproc.common.errors import FedprocError

Answer = Literal["granted", "not_granted", "not_asked"]


class NotAskedError(FedprocError):
    """The provider could not be asked, or its answer is none: nothing follows from it, least of all "no grant"."""

    code = "grant.not_asked"


class SessionEndedError(FedprocError):
    """The user's session at the issuer is over, so that nothing can be asked in the user's name."""

    code = "grant.session_ended"


@dataclass(frozen=True)
class Terms:
    """What a grant says of itself, as far as its provider knows it; ``until`` in seconds since 1970.

    ``binds``: the provider is one that tells projects, so that what a user writes with an order must agree with it.
    """

    project: str | None = None
    permit: str | None = None
    purpose: str | None = None
    until: float | None = None
    binds: bool = False


@dataclass(frozen=True)
class Finding:
    """One provider's answer about one dataset. ``reason`` is for the user, and names no token.

    ``grants``: all of the user's that count now. ``terms``: of that by which an order goes.
    """

    provider: str
    answer: Answer
    reason: str = ""
    terms: Terms = Terms()
    grants: tuple[Terms, ...] = ()


@dataclass(frozen=True)
class Person:
    """The user who is asked about: ``sub`` at ``issuer``.

    ``token`` gives an access token of the user's own for an audience (None: the one that the API itself was sent).
    Raises :class:`SessionEndedError` and :class:`NotAskedError`.
    """

    sub: str
    issuer: str
    token: Callable[[str | None], Awaitable[str]]


class Provider(Protocol):
    """Knows who may use what."""

    async def ask(self, person: Person, resources: Sequence[str]) -> Mapping[str, Sequence[Terms] | str]:
        """By resource the terms of each of the person's grants, the one that lasts longest first; or why there is none.

        Raises :class:`NotAskedError`, and :class:`SessionEndedError`.
        """
        ...

    async def close(self) -> None: ...
