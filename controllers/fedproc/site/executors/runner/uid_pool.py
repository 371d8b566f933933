"""A user id of its own for each job: two jobs of one machine never share one, whichever runner has them.

An id is held by the name of an abstract unix socket, which the kernel frees when its holder is gone: so nothing lies
about, and runners that know nothing of each other cannot take the same one.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass


class NoFreeUidError(Exception):
    """All user ids for jobs are in use."""


@dataclass(frozen=True)
class UidLease:
    """A user id that is held until :meth:`release`, or until the runner is gone."""

    uid: int
    claim: socket.socket

    def release(self) -> None:
        """Let others have it."""
        self.claim.close()


class UidPool:
    """The user ids from ``first`` to ``last``."""

    def __init__(self, first: int, last: int) -> None:
        self._range = range(first, last + 1)
        self._next = 0

    def take(self) -> UidLease:
        """A free id. Raises :class:`NoFreeUidError`."""
        for _ in self._range:
            uid = self._range[self._next]
            self._next = (self._next + 1) % len(self._range)
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0fedproc-user-{uid}")
            except OSError as error:
                claim.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return UidLease(uid, claim)
        raise NoFreeUidError(
            f"all user ids for jobs ({self._range[0]} to {self._range[-1]}) are in use by jobs that run or are not "
            "discarded yet: give the runner a wider range (--uids)"
        )
