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


class MalformedRequestError(InvalidInputError):
    """A header or a form of the request cannot be read."""

    code = "bad_request"


class PreconditionError(InvalidInputError):
    """The request was made for another version of the protocol."""

    code = "precondition"


class MediaTypeError(InvalidInputError):
    """The body is of a kind that is not taken there."""

    code = "media_type"


class RangeError(InvalidInputError):
    """The bytes that were asked for lie behind the file's end."""

    code = "range"


class CutOffError(InvalidInputError):
    """The sender stopped before it had sent everything."""

    code = "timeout"


class ChecksumError(InvalidInputError):
    """The bytes of one part are not those that its checksum says."""

    code = "upload.checksum"


class NotAuthenticatedError(FedprocError):
    """No token was sent."""

    code = "not_authenticated"


class InvalidTokenError(NotAuthenticatedError):
    """A token was sent, and does not verify."""

    code = "invalid_token"


class ForbiddenError(FedprocError):
    """Known, but not allowed."""

    code = "forbidden"


class NotFoundError(FedprocError):
    """There is no such thing, or it is not the caller's."""

    code = "not_found"


class ConflictError(FedprocError):
    """The thing is in a state in which this cannot be done."""

    code = "conflict"


class QuotaError(ConflictError):
    """The caller has as much of it as is allowed; something has to end, or an operator to allow more."""

    code = "quota"


class TooManyRequestsError(FedprocError):
    """The caller asks more often than is allowed; the same request may succeed later."""

    code = "rate"


class LockedError(ConflictError):
    """Another request has it just now; the same request may succeed later."""

    code = "locked"


class GoneError(FedprocError):
    """It was there and is not any more (an expired link)."""

    code = "gone"


class TooLargeError(FedprocError):
    """Larger than what was declared or is allowed."""

    code = "too_large"


class UnavailableError(FedprocError):
    """A peer that is needed does not answer; the same request may succeed later."""

    code = "unavailable"


class StorageFullError(UnavailableError):
    """There is no room for it on the disk; somebody has to make some."""

    code = "storage.full"


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
