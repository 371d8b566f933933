"""The user's session at the issuer, held for as long as an experiment of the user's is open.

What is kept is a refresh token that the issuer gives to the API's own client alone: whoever has it lacks the API's key.
It is encrypted all the same, by a key that comes from that one, so that a copy of the database holds none.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from fedproc.central.auth.issuer import Issuer
from fedproc.central.db.engine import read_transaction, retry_on_conflict, write_transaction
from fedproc.central.db.repositories import delegations
from fedproc.central.grants.answers import SessionEndedError
from fedproc.central.grants.exchange import Exchange, Session
from fedproc.common.keys import read_key

_HEADER = {"alg": "dir", "enc": "A256GCM"}
_PAUSES = (0.0, 0.2, 0.5, 1.0)
"""seconds before what is kept is looked at again: another program may have renewed it, and not yet kept it"""
_PURPOSE = b"fedproc: users' sessions of open experiments"
_NONE_KEPT = "no session of the user's is kept for this experiment; start it again"


class Delegations:
    """Holds and renews sessions; one at a time of each experiment, since a renewal may void what was before it."""

    def __init__(self, engine: Engine, issuer: Issuer) -> None:
        self.exchange = Exchange(issuer)
        self._engine = engine
        path = issuer.settings.client_key
        self._key = None if path is None else _derived(read_key(path, "issuer.client_key").as_der(private=True))
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, token: str) -> str | None:
        """Hold the session of this access token: what is to be kept of it, or None where the issuer exchanges none.

        Raises :class:`NotAskedError`, :class:`SessionEndedError`.
        """
        if self._key is None or not await self.exchange.is_offered():
            return None
        return self._sealed((await self.exchange.begin(token)).refresh)

    async def access(self, experiment: str) -> str:
        """A fresh access token of the session that is kept for the experiment.

        Raises :class:`SessionEndedError`, also where none is kept, and :class:`NotAskedError`.
        """
        lock = self._locks.setdefault(experiment, asyncio.Lock())
        async with lock:
            sealed, session = await self._renewed(experiment)
            await run_in_threadpool(self._keep, experiment, sealed, self._sealed(session.refresh))
        return session.access

    async def _renewed(self, experiment: str) -> tuple[str, Session]:
        """What was kept, and the session by it. Another program may renew it at once: what it keeps then counts."""
        sealed, pauses = await run_in_threadpool(self._kept, experiment), iter(_PAUSES)
        while True:
            try:
                return sealed, await self.exchange.renew(self._opened(sealed))
            except SessionEndedError:
                before = sealed
                while sealed == before:
                    if (pause := next(pauses, None)) is None:
                        raise
                    await asyncio.sleep(pause)
                    sealed = await run_in_threadpool(self._kept, experiment)

    def _kept(self, experiment: str) -> str:
        with read_transaction(self._engine) as connection:
            sealed = delegations.of(connection, experiment)
        if sealed is None:
            raise SessionEndedError(_NONE_KEPT)
        return sealed

    def _keep(self, experiment: str, before: str, sealed: str) -> None:
        def write() -> None:
            with write_transaction(self._engine) as connection:
                delegations.renew(connection, experiment, before, sealed)

        retry_on_conflict(write)

    def _sealed(self, refresh: str) -> str:
        assert self._key is not None
        return jwe.encrypt_compact(_HEADER, refresh.encode(), self._key)

    def _opened(self, sealed: str) -> str:
        """Of a key that was changed since, it is as good as ended."""
        try:
            assert self._key is not None
            return (jwe.decrypt_compact(sealed, self._key).plaintext or b"").decode()
        except (JoseError, ValueError, AssertionError) as error:
            raise SessionEndedError(_NONE_KEPT) from error


def _derived(secret: bytes) -> OctKey:
    return OctKey.import_key(HKDF(SHA256(), 32, None, _PURPOSE).derive(secret))
