"""Who is signed in with a browser: a random cookie there, tokens here that only this cookie opens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from fedproc.central.auth.issuer import Issuer
from fedproc.central.auth.tokens import Verifier
from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import sessions
from fedproc.common.errors import InvalidTokenError, NotAuthenticatedError, UnavailableError
from fedproc.common.log import get_logger

log = get_logger(__name__)

_EARLY = 30.0
"""seconds before its end that an access token is renewed"""
_LOOKS, _LOOK_SECONDS = 8, 0.1
"""how long another process that has renewed a session may take to write it down"""
_NONCE = 12
_SECRET = 32


@dataclass(frozen=True)
class Tokens:
    """What the issuer gave; ``until``: when the access token ends, in seconds since 1970."""

    access: str = field(repr=False)
    until: float
    refresh: str | None = field(default=None, repr=False)
    identity: str | None = field(default=None, repr=False)
    """the ID token, by which the issuer knows whom to sign out"""


@dataclass(frozen=True)
class Session:
    """One sign-in; ``secret`` is the cookie's."""

    secret: bytes = field(repr=False)
    subject: str
    name: str
    roles: frozenset[str]
    expires: float
    tokens: Tokens
    sealed: bytes = field(default=b"", repr=False, compare=False)
    """as the database had it when it was read"""

    @property
    def cookie(self) -> str:
        return base64.urlsafe_b64encode(self.secret).decode().rstrip("=")

    @property
    def id(self) -> str:
        return _derived(self.secret, b"id").hex()

    @property
    def form_token(self) -> str:
        """What each form of this session carries, and no other site can know."""
        return _derived(self.secret, b"form").hex()

    @property
    def operates(self) -> bool:
        return "operator" in self.roles


def signed_out() -> NotAuthenticatedError:
    """The error for who is not, or no longer, signed in."""
    text = "you are not signed in, or your sign-in has ended: sign in again"
    return NotAuthenticatedError(text, code="session.ended")


def _tokens(body: dict[str, Any], until: float, before: Tokens | None = None) -> Tokens:
    """The tokens in an answer of the issuer's; what it leaves out stays as it was before."""
    return Tokens(
        access=str(body["access_token"]),
        until=until,
        refresh=body.get("refresh_token") or (before.refresh if before else None),
        identity=body.get("id_token") or (before.identity if before else None),
    )


class Sessions:
    """Begins, finds, renews and ends sign-ins; several API processes share them by the database."""

    def __init__(self, engine: Engine, issuer: Issuer, verifier: Verifier, hours: float) -> None:
        self._engine = engine
        self._issuer = issuer
        self._verifier = verifier
        self._seconds = hours * 3600
        self._renewals: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, body: dict[str, Any]) -> Session:
        """From the issuer's answer. Raises :class:`InvalidTokenError` for a token that does not count here."""
        caller = await self._verifier.verify(str(body["access_token"]))
        tokens = _tokens(body, caller.expires)
        secret, now = secrets.token_bytes(_SECRET), time.time()
        session = Session(secret, caller.sub, caller.name, caller.roles, now + self._seconds, tokens)
        row = {"id": session.id, "subject": session.subject, "created": now, "expires": session.expires}
        await run_in_threadpool(self._add, {**row, "sealed": _sealed(session)}, now)
        return session

    def _add(self, row: dict[str, Any], now: float) -> None:
        with write_transaction(self._engine) as connection:
            sessions.add(connection, row, now)

    async def find(self, cookie: str) -> Session:
        """The session of a cookie, with an access token that is good for a while.

        Raises :class:`NotAuthenticatedError` if there is none, or if the issuer has ended it.
        """
        session = await self.read(cookie)
        if session.tokens.until - _EARLY > time.time():
            return session
        try:
            return await self.renew(session)
        except UnavailableError:
            if session.tokens.until <= time.time():
                raise
            return session

    async def read(self, cookie: str) -> Session:
        """The session of a cookie as it stands here; the issuer is not asked, and its token may be over."""
        return await self._read(_secret_of(cookie))

    async def renew(self, session: Session) -> Session:
        """With another access token, which another request or process may have got already."""
        lock = self._renewals.setdefault(session.id, asyncio.Lock())
        async with lock:
            now = await self._read(session.secret)
            return now if now.tokens.access != session.tokens.access else await self._renewed(now)

    async def _read(self, secret: bytes) -> Session:
        row = await run_in_threadpool(self._row, _derived(secret, b"id").hex())
        if row is None:
            raise signed_out()
        return _opened(secret, row)

    def _row(self, session: str) -> Any:
        with read_transaction(self._engine) as connection:
            return sessions.find(connection, session, time.time())

    async def _renewed(self, session: Session) -> Session:
        """The issuer may have given this person other roles, or none; then the new token says so."""
        if session.tokens.refresh is None:
            return await self._over(session)
        form = {"grant_type": "refresh_token", "refresh_token": session.tokens.refresh}
        status, body = await self._issuer.grant_to_browser(form)
        if status == 400 and body.get("error") == "invalid_grant":
            return await self._refused(session)
        if status != 200 or "access_token" not in body:
            text = f"the issuer answers {status} ({body.get('error')}) when your sign-in is to be renewed; try again"
            raise UnavailableError(text, code="unavailable.issuer")
        return await self._kept(session, body)

    async def _over(self, session: Session) -> Session:
        """It cannot be renewed, and lives as long as its token."""
        if session.tokens.until > time.time():
            return session
        await self.end(session)
        raise signed_out()

    async def _refused(self, session: Session) -> Session:
        """A refresh token counts once where the issuer has it so: another process may have used it, and be writing."""
        for _ in range(_LOOKS):
            now = await self._read(session.secret)
            if now.sealed != session.sealed:
                return now
            await asyncio.sleep(_LOOK_SECONDS)
        log.info("session.not_renewed", subject=session.subject)
        await run_in_threadpool(self._remove, session.id, session.sealed)
        raise signed_out()

    async def _kept(self, session: Session, body: dict[str, Any]) -> Session:
        try:
            caller = await self._verifier.verify(str(body["access_token"]))
        except InvalidTokenError:
            await self.end(session)
            raise
        if caller.sub != session.subject:
            raise UnavailableError("the issuer renewed the token of another person; tell the operator")
        tokens = _tokens(body, caller.expires, session.tokens)
        renewed = replace(session, tokens=tokens, name=caller.name, roles=caller.roles)
        sealed = _sealed(renewed)
        if await run_in_threadpool(self._keep, session, sealed):
            return replace(renewed, sealed=sealed)
        return await self._read(session.secret)

    def _keep(self, before: Session, sealed: bytes) -> bool:
        with write_transaction(self._engine) as connection:
            return sessions.keep(connection, before.id, before.sealed, sealed)

    async def end(self, session: Session) -> None:
        await run_in_threadpool(self._remove, session.id)

    def _remove(self, session: str, before: bytes | None = None) -> None:
        with write_transaction(self._engine) as connection:
            sessions.remove(connection, session, before)


def _secret_of(cookie: str) -> bytes:
    try:
        secret = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
    except ValueError as error:
        raise signed_out() from error
    if len(secret) != _SECRET:
        raise signed_out()
    return secret


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, b"fedproc session " + purpose, hashlib.sha256)


def _sealed(session: Session) -> bytes:
    content = {
        "subject": session.subject,
        "name": session.name,
        "roles": sorted(session.roles),
        "expires": session.expires,
        "tokens": asdict(session.tokens),
    }
    nonce = secrets.token_bytes(_NONCE)
    key = AESGCM(_derived(session.secret, b"key"))
    return nonce + key.encrypt(nonce, json.dumps(content).encode(), session.id.encode())


def _opened(secret: bytes, row: Any) -> Session:
    try:
        raw = AESGCM(_derived(secret, b"key")).decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], row.id.encode())
    except InvalidTag as error:
        raise signed_out() from error
    content = json.loads(raw)
    roles, tokens = frozenset(content["roles"]), Tokens(**content["tokens"])
    return Session(secret, content["subject"], content["name"], roles, content["expires"], tokens, row.sealed)
