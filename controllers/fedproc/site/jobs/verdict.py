"""How an error becomes a job's terminal state: the one place."""

from __future__ import annotations

from dataclasses import dataclass

from fedproc.common.errors import FedprocError, RefusedError, SystemFaultError, ToolFaultError, UnavailableError
from fedproc.common.log import Logger
from fedproc.common.text import escaped
from fedproc.contract.states import JobState


@dataclass(frozen=True)
class Verdict:
    """How a job ended: state, stable code, and a text for the researcher."""

    state: JobState
    code: str | None = None
    reason: str | None = None


class WithheldError(RefusedError):
    """Nobody decided in time about what waited for a person: it stays at the host."""

    code = "release.expired"


class NotStartedError(FedprocError):
    """It had not begun by the moment by which it had to; the job ends as ``expired``."""

    code = "expired"


_STATES: tuple[tuple[type[FedprocError], JobState], ...] = (
    (WithheldError, JobState.expired),
    (NotStartedError, JobState.expired),
    (RefusedError, JobState.refused),
    (ToolFaultError, JobState.failed),
    (SystemFaultError, JobState.error),
    (UnavailableError, JobState.error),
)


def verdict_of(error: Exception, log: Logger | None = None) -> Verdict:
    """The verdict for whatever stopped a job. What is not foreseen is the system's fault, and says its kind.

    A reason leaves the host, and nobody releases it: it has no word that the tool chose while it ran, and no path of
    the host. What an error keeps ``at_host`` goes to the host's ``log``.
    """
    if isinstance(error, FedprocError):
        if log is not None and (kept := error.detail.get("at_host")):
            log.warning("job.fault", code=error.code, reason=escaped(error.message), at_host=escaped(str(kept)))
        state = next((s for kind, s in _STATES if isinstance(error, kind)), JobState.error)
        return Verdict(state, error.code, escaped(error.message))
    if isinstance(error, OSError) and error.errno is not None:
        return Verdict(JobState.error, "system_fault.os", escaped(f"the host's system said: {error.strerror}"))
    return Verdict(JobState.error, "system_fault.unforeseen", f"{type(error).__name__}; see the host's log")
