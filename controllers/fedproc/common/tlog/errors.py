"""What may be wrong with a log."""

from __future__ import annotations

from fedproc.common.errors import SystemFaultError


class LogError(SystemFaultError):
    """The log cannot be written, so that what it has to hold must not happen now."""

    code = "tlog.unwritable"


class LogDamagedError(LogError):
    """The log is not as it was written: somebody has to look at it before anything is added."""

    code = "tlog.damaged"
