"""The one tree of errors.

Each error carries ``code`` (stable, for programs), a text that says what, where and what to do, and may carry
``detail`` (a JSON-able dict). :mod:`fedproc.central.api.problems` alone maps them to HTTP status, and
:mod:`fedproc.site.jobs.verdict` alone maps them to job state.
"""

from __future__ import annotations

from typing import Any


class FedprocError(Exception):
    """Base of all errors that this project raises on purpose."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.detail = detail


class InvalidInputError(FedprocError):
    """Somebody sent or wrote something that cannot be accepted."""

    code = "invalid_input"


class NotAuthenticatedError(FedprocError):
    """No token, or one that does not verify."""

    code = "not_authenticated"


class ForbiddenError(FedprocError):
    """Known, but not allowed."""

    code = "forbidden"


class NotFoundError(FedprocError):
    """There is no such thing, or it is not the caller's."""

    code = "not_found"


class ConflictError(FedprocError):
    """The thing is in a state in which this cannot be done."""

    code = "conflict"


class GoneError(FedprocError):
    """It was there and is not any more (an expired link)."""

    code = "gone"


class TooLargeError(FedprocError):
    """Larger than what was declared or is allowed."""

    code = "too_large"


class UnavailableError(FedprocError):
    """A peer that is needed does not answer; the same request may succeed later."""

    code = "unavailable"


class UnreadableError(FedprocError):
    """A message from the wire that can never be accepted: not signed, not ours, not understood."""

    code = "unreadable"


class RefusedError(FedprocError):
    """A site's policy says no; the job ends as ``refused``."""

    code = "refused"


class ToolFaultError(FedprocError):
    """The tool did wrong (exit code, missing output, too much output); the job ends as ``failed``."""

    code = "tool_fault"


class SystemFaultError(FedprocError):
    """The system did wrong (executor, disk, network); the job ends as ``error``."""

    code = "system_fault"
