"""Operating system, limits for jobs, and container engines."""

from __future__ import annotations

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import Engine, EngineFacts, ExecutorNeeds, Facts, SystemFacts, Unknown
from fedproc.onboarding.model.report import Line
from fedproc.onboarding.rules.common import Check, Finding, Requirement, asks, line, unknown

STARTS = {"docker": "systemctl start docker", "podman": "systemctl --user enable --now podman.socket"}
WANTED_CONTROLLERS = ("cpu", "memory", "pids")


def supported(requirement: Requirement, facts: Facts) -> list[Line]:
    """The distribution is one of a list like ``debian 12`` (that release or a newer one)."""
    text = "operating system: " + asks(requirement, lambda names: ", ".join(f"{n} or newer" for n in names))
    found = _system(facts)
    if isinstance(found, Unknown):
        return [unknown("os.supported", requirement, text, found.unknown, "run the check on the host itself")]
    measured = f"{found.name}, Linux {found.kernel}, {found.machine}, Python {found.python}"
    finding = Finding(measured, lambda names: _is_one_of(found, names), _system_cure(found, requirement))
    return [line("os.supported", requirement, text, finding)]


def _system_cure(system: SystemFacts, requirement: Requirement) -> str:
    if requirement.minimum and _is_one_of(system, requirement.minimum):
        wanted = " or ".join(requirement.recommended or ())
        return (
            f"use {wanted}, on which the federation's roles install everything; on this system the site installs "
            "Python 3.11 to 3.13 and fedproc itself"
        )
    return "install one of these systems; a derivative that the site has tested itself may be named in its own profile"


def _is_one_of(system: SystemFacts, names: list[str]) -> bool | None:
    for name in names:
        distribution, _, release = name.partition(" ")
        if distribution == system.id:
            return formatting.at_least(system.version, release)
    return False


def cgroups(requirement: Requirement, facts: Facts) -> list[Line]:
    """Control groups by which jobs are kept within their CPUs, memory and number of processes."""
    text = f"control groups for {', '.join(WANTED_CONTROLLERS)}"
    found = _system(facts)
    if isinstance(found, Unknown):
        return [unknown("os.cgroups", requirement, text, found.unknown, "run the check on the host itself")]
    missing = [c for c in WANTED_CONTROLLERS if c not in found.cgroup_controllers]
    measured = f"{found.cgroup_version}: {', '.join(found.cgroup_controllers) or 'none'}"
    measured += f"; missing: {', '.join(missing)}" if missing else ""
    cure = "enable them on the kernel's command line (cgroup_enable=memory) or run the check outside of a container"
    return [line("os.cgroups", requirement, text, Finding(measured, lambda asked: not missing, cure))]


def engine(requirement: Requirement, facts: Facts) -> list[Line]:
    """One engine of a list works."""
    text = "container engine: " + asks(requirement, " or ".join)
    found = facts.container
    if found is None or isinstance(found, Unknown):
        reason = found.unknown if found else "container engines were not measured"
        return [unknown("container.engine", requirement, text, reason, "run the check on the host itself")]
    finding = Finding(_engines_text(found), lambda names: _works(found, names), _engine_cure(found, requirement))
    return [line("container.engine", requirement, text, finding)]


def describe(engine: Engine) -> str:
    """One engine in short."""
    modes = {True: ", rootless", False: ", rootful: whoever may use its socket is root here"}
    mode = modes.get(engine.rootless, "") if engine.rootless is not None else ""
    states = {"usable": "works", "broken": "does not work", "denied": "could not be asked"}
    state = states.get(engine.state, engine.state)
    return f"{engine.name} {engine.version or '(version not known)'} {state}{mode} ({engine.detail})"


def _engines_text(found: EngineFacts) -> str:
    return "; ".join(describe(engine) for engine in found.engines) or "none is installed"


def _works(found: EngineFacts, names: list[str]) -> bool | None:
    states = {engine.state for engine in found.engines if engine.name in names}
    return True if "usable" in states else None if "denied" in states else False


def _engine_cure(found: EngineFacts, requirement: Requirement) -> str:
    wanted = list(requirement.minimum or requirement.recommended)
    for engine in (e for e in found.engines if e.name in wanted):
        if engine.state == "denied":
            return "run the check as root, or as the user who will run the orchestrator"
        if engine.name in STARTS:
            return f"start it ({STARTS[engine.name]}) and see that '{engine.name} info' answers"
        return f"repair {engine.name}: {engine.detail}"
    return f"install one of: {', '.join(wanted)}"


def executors(requirement: Requirement, facts: Facts) -> list[Line]:
    """Each executor that the settings name has what it needs. Without settings there is nothing to say."""
    found = facts.executor
    if isinstance(found, Unknown):
        cure = "run the check on the host itself"
        return [unknown("executor.needs", requirement, "executors of the settings", found.unknown, cure)]
    return [_executor_line(requirement, needs) for needs in (found.executors if found else ())]


def _executor_line(requirement: Requirement, needs: ExecutorNeeds) -> Line:
    measured = "; ".join(filter(None, (needs.needs, *needs.missing, needs.note)))
    finding = Finding(measured, lambda asked: not needs.missing, "; ".join(needs.missing))
    return line("executor.needs", requirement, f"executor {needs.name}: what it needs is here", finding)


def _system(facts: Facts) -> SystemFacts | Unknown:
    return Unknown("the operating system was not measured") if facts.os is None else facts.os


CHECKS = (
    Check("os.supported", "names", supported),
    Check("os.cgroups", "flag", cgroups),
    Check("container.engine", "names", engine),
    Check("executor.needs", "flag", executors),
)
