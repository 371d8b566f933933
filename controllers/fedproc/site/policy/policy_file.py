"""The site's policy: who may run what here, with how much, and what may leave (docs/operations/site.md, "Policy").

The policy is the site's own file. What it does not allow is refused; the reason goes to the researcher. Its sections
are here, but for connections (:mod:`~fedproc.site.policy.connecting`), what is demanded of a task (``demands``),
reviews (``review``) and the ledger (``ledger.settings``); the rules' numbers are in ``engine.disclosure_rules``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from fedproc.common.errors import InvalidInputError, RefusedError
from fedproc.common.toml_settings import Section, load_toml_with_content
from fedproc.contract.ids import Digest, HostId
from fedproc.contract.plain import plain_json
from fedproc.contract.tool.leaving import DEFAULT_RELEASE, OF_PERSONS, Release
from fedproc.contract.tool.task import Disclosure, OutputDecl, Task
from fedproc.contract.wire.messages import JobOrder, User
from fedproc.contract.wire.releasing import AdmittedTool, ReleasePolicy
from fedproc.site.policy.connecting import ConnectionRule
from fedproc.site.policy.demands import PrivacyRule, check_parameters
from fedproc.site.policy.engine.disclosure_rules import FLOOR, LOWEST_FLOOR
from fedproc.site.policy.ledger.settings import LedgerRule
from fedproc.site.policy.review import ReviewRule

_STRICTNESS: tuple[Release, ...] = ("automatic", "manual", "never")
Limit = Literal["cpus", "memory", "pids", "disk"]


class ToolRule(Section):
    """One line of the allow-list."""

    id: str
    digest: str = Field(description="the approved digest, or '*' for every version that the catalogue signed")
    users: tuple[str, ...] | None = Field(
        None, description="subjects, as shell patterns; the site's unless given; an empty list is nobody"
    )
    connections: tuple[ConnectionRule, ...] = ()
    received_code: bool = Field(False, description="may run code that it is sent")
    parameters: dict[
        str, Annotated[tuple[Annotated[JsonValue, AfterValidator(plain_json)], ...], Field(min_length=1)]
    ] = Field({}, description="by parameter: the values that this site takes; any other, or none, is refused")
    secure_sums: bool = Field(False, description="only where numbers of persons leave masked, as part of a sum")
    differential_privacy: PrivacyRule | None = Field(None, description="only with it, and no more spent than this")
    release: dict[Disclosure, Release] = Field({}, description="instead of the site's own")
    without_review: tuple[Disclosure, ...] = Field(
        (), description="classes that leave though a rule would have a person look"
    )
    any_version: bool = Field(
        False, description="with digest '*': 'automatic' and without_review count for every version all the same"
    )

    @property
    def names_version(self) -> bool:
        """Whether what says something of persons may leave by itself of the versions that this line admits."""
        return self.digest != "*" or self.any_version


class Maximum(Section):
    """The most that one job may ask for; what is left out is bounded by the machine alone."""

    cpus: float | None = None
    memory_mb: int | None = None
    disk_mb: int | None = None
    run_seconds: int | None = None
    gpus: int | None = None


class Terms(BaseModel):
    """What a policy says of the outputs of one job."""

    model_config = ConfigDict(frozen=True)

    release: dict[str, Release]
    """by output: how it leaves"""
    minimum_count: int
    without_review: frozenset[str] = frozenset()
    """outputs that leave though a rule would have a person look"""

    @property
    def floor(self) -> int:
        """Persons behind a count, at the least."""
        return max(self.minimum_count, LOWEST_FLOOR)

    def of(self, output: str) -> Release:
        """How an output leaves; one that is not named never does."""
        return self.release.get(output, "never")

    def stricter(self, other: Terms) -> Terms:
        """Of two policies the stricter word on each output, and the larger count."""
        release = {name: max(self.of(name), other.of(name), key=_STRICTNESS.index) for name in self.release}
        return Terms(
            release=release,
            minimum_count=max(self.minimum_count, other.minimum_count),
            without_review=self.without_review & other.without_review,
        )


class GrantRule(Section):
    """What is asked of the centre about those who use this site's datasets, and what follows (docs/identity.md)."""

    required: bool = Field(False, description="a job whose order names no grant for a dataset of it is refused")
    again_seconds: float = Field(900, ge=5, description="while a job runs: between two questions whether it still may")
    patience_seconds: float = Field(
        1800, ge=0, description="how long it counts what was granted last, while nobody can be asked"
    )
    session_ended: Literal["wait", "fail", "go_on"] = Field(
        "wait", description="the user is signed out: wait as long as patience lasts, end the job, or go on"
    )


class Policy(Section):
    """The whole file."""

    users: tuple[str, ...] = ("*",)
    purposes: tuple[str, ...] = Field((), description="if given, an experiment must state one of them")
    tools: tuple[ToolRule, ...] = ()
    recalled: tuple[Digest, ...] = Field(
        (), description="versions that run here no more, whatever a line says; on reload their jobs end"
    )
    maximum: Maximum = Maximum()
    release: dict[Disclosure, Release] = Field(dict(DEFAULT_RELEASE), description="what is not named here never leaves")
    floor: int | None = Field(
        None, ge=LOWEST_FLOOR, description="counts of persons below this never leave; 10 unless given"
    )
    minimum_count: int | None = Field(None, ge=0, description="the older name of floor; below 5 it counts as 5")
    metrics: bool = Field(True, description="the metrics that a tool declares go to the researcher while it runs")
    metrics_per_minute: int = Field(60, ge=1, description="lines of metrics of one job that leave in a minute at most")
    metrics_per_job: int = Field(2_000, ge=0, le=20_000, description="and as long as it runs")
    logs: bool = Field(False, description="lines of tool output go to the researcher")
    tell_release: bool = Field(True, description="the centre is told how outputs leave, so that researchers see it")
    unenforced_limits: tuple[Limit, ...] = Field((), description="what this host's executor need not enforce of jobs")
    grants: GrantRule = GrantRule()
    review: ReviewRule = ReviewRule()
    ledger: LedgerRule = LedgerRule()
    known_keys: dict[HostId, str] = Field(
        {}, description="thumbprints of other hosts' keys that this site was told: sums are masked with no other key"
    )
    log_subjects: bool = Field(False, description="the transparency log names users by their subject, not a keyed hash")

    def admitted(self) -> tuple[AdmittedTool, ...]:
        """The allow-list as the centre shows it; of several lines for one version the first."""
        lines = {(rule.id, rule.digest): rule for rule in reversed(self.tools) if rule.digest not in self.recalled}
        return tuple(self._admitted(rule) for rule in reversed(lines.values()))

    def _admitted(self, rule: ToolRule) -> AdmittedTool:
        digest, most = None if rule.digest == "*" else rule.digest, rule.differential_privacy
        spent = None if most is None else most.model_dump()
        line = AdmittedTool(id=rule.id, digest=digest, secure_sums=rule.secure_sums, differential_privacy=spent)
        if not self.tell_release:
            return line
        by_class = ((each, self.word_on(rule, each)) for each in Disclosure)
        others = {str(each): word for each, word in by_class if word != self.release.get(each, "never")}
        unseen = tuple(map(str, rule.without_review)) if rule.names_version else ()
        return line.model_copy(update={"release": others, "without_review": unseen})

    def released(self) -> ReleasePolicy | None:
        """What the centre is told of how outputs leave; None if the site keeps it."""
        if not self.tell_release:
            return None
        return ReleasePolicy(release={str(each): word for each, word in self.release.items()}, floor=self.least_count)

    def rule(self, order: JobOrder) -> ToolRule:
        """The first line that admits the tool, the digest and the user of this order; no other line adds to it.

        Raises :class:`RefusedError`, which says how far the nearest line went.
        """
        self.check_recalled(order)
        of_tool = [rule for rule in self.tools if rule.id == order.tool.id]
        of_digest = [rule for rule in of_tool if rule.digest in ("*", order.tool.digest)]
        rule = next((rule for rule in of_digest if self._admits(rule, order.user)), None)
        if rule is None:
            raise _not_admitted(order, of_tool, of_digest)
        self._check_purpose(order)
        check_parameters(rule.id, rule.parameters, order)
        return rule

    def check_recalled(self, order: JobOrder) -> None:
        """Whether the version still counts here. Raises :class:`RefusedError` with code ``policy.recalled``."""
        if order.tool.digest in self.recalled:
            raise RefusedError(
                f"this site has recalled version {order.tool.version} of tool {order.tool.id!r}; use another version",
                code="policy.recalled",
            )

    def _admits(self, rule: ToolRule, user: User) -> bool:
        patterns = self.users if rule.users is None else rule.users
        return any(fnmatchcase(user.sub, pattern) for pattern in patterns)

    def _check_purpose(self, order: JobOrder) -> None:
        if self.purposes and order.purpose not in self.purposes:
            raise RefusedError(
                f"this site runs experiments for the purposes {', '.join(self.purposes)} only; state one",
                code="policy.purpose",
            )

    def check_task(self, rule: ToolRule, task: Task) -> None:
        """Whether the task itself is within bounds. Raises :class:`RefusedError`."""
        if task.runs_received_code and not rule.received_code:
            raise RefusedError(
                f"the tool runs code that it is sent; {_line(rule)} does not allow that (received_code)",
                code="policy.code",
            )
        wanted = task.resources
        asked = {
            "cpus": wanted.cpus,
            "memory_mb": wanted.memory_mb,
            "disk_mb": wanted.disk_mb,
            "run_seconds": wanted.run_seconds,
            "gpus": wanted.gpu.count if wanted.gpu else 0,
        }
        for name, value in asked.items():
            limit = getattr(self.maximum, name)
            if limit is not None and value > limit:
                raise RefusedError(f"asks for {name} {value}; this site's limit is {limit}", code="policy.too_large")
        self._check_network(rule, task)

    def _check_network(self, rule: ToolRule, task: Task) -> None:
        allowed = {connection.task for connection in rule.connections}
        wanted = {connection.task for connection in task.connections}
        if task.ports:
            wanted.add(task.name)
        if missing := wanted - allowed:
            tasks = ", ".join(sorted(missing))
            raise RefusedError(
                f"wants a connection with task {tasks}; {_line(rule)} does not name it (connections)",
                code="policy.network",
            )

    def terms(self, rule: ToolRule, task: Task) -> Terms:
        """What a line of this policy says of the outputs of a task."""
        release = {output.name: self.release_of(rule, output) for output in task.outputs}
        unseen = rule.without_review if rule.names_version else ()
        without_review = frozenset(output.name for output in task.outputs if output.disclosure in unseen)
        return Terms(release=release, minimum_count=self.least_count, without_review=without_review)

    @property
    def least_count(self) -> int:
        """The floor, under whichever of its names the site gives it."""
        given = self.floor if self.floor is not None else self.minimum_count
        return FLOOR if given is None else max(given, LOWEST_FLOOR)

    def release_of(self, rule: ToolRule, output: OutputDecl) -> Release:
        """How outputs of this disclosure class leave; a class that is not named never does.

        What says something of persons leaves by itself only of a version that the site names by its digest, unless
        its line says ``any_version``.
        """
        return self.word_on(rule, output.disclosure)

    def word_on(self, rule: ToolRule, disclosure: Disclosure) -> Release:
        """The same of a class."""
        how = rule.release.get(disclosure) or self.release.get(disclosure) or "never"
        waits = how == "automatic" and not rule.names_version and disclosure in OF_PERSONS
        return "manual" if waits else how


def _line(rule: ToolRule) -> str:
    return f"this site's line for tool {rule.id!r} with digest {rule.digest!r}"


def _not_admitted(order: JobOrder, of_tool: list[ToolRule], of_digest: list[ToolRule]) -> RefusedError:
    tool, user = order.tool, order.user
    if not of_tool:
        text = f"tool {tool.id!r} is not on this site's allow-list; ask the site to admit it"
        return RefusedError(text, code="policy.tool_unknown")
    if not of_digest:
        text = (
            f"tool {tool.id!r} is admitted here, but not with digest {tool.digest}; ask the site to admit this version"
        )
        return RefusedError(text, code="policy.digest")
    text = f"user {user.name or user.sub!r} may not run tool {tool.id!r} here; ask the site to admit the user"
    return RefusedError(text, code="policy.user")


def connection_budget(rule: ToolRule, task: str) -> int:
    """Bytes that a connection with ``task`` may carry in each direction; 0 if none is allowed."""
    return next((int(c.max_mb * 1_000_000) for c in rule.connections if c.task == task), 0)


def load(path: Path) -> Policy:
    """Read the policy file. Raises :class:`fedproc.common.errors.InvalidInputError` naming key and fault."""
    return read(path)[0]


def read(path: Path) -> tuple[Policy, bytes]:
    """The policy, and the bytes of the file that say it. Raises as :func:`load` does."""
    return load_toml_with_content(path, Policy)


def check_order(path: Path, policy: Policy) -> None:
    """Refuse lines that can never count, as one before them admits the same, and words that count as others.

    Not of :func:`load`: a policy that ran before must not keep the orchestrator from its start. Raises
    :class:`fedproc.common.errors.InvalidInputError`.
    """
    lost = [
        f"tools no. {later + 1} ({rule.id}) never counts: no. {before + 1} admits the same tool, digest and users "
        "before it; put the narrower one first, or take one away"
        for later, rule in enumerate(policy.tools)
        if (before := _first_that_covers(policy, later)) is not None
    ]
    if found := [*lost, *_not_meant(policy)]:
        raise InvalidInputError(f"{path}: " + "; ".join(found))


def _not_meant(policy: Policy) -> Iterator[str]:
    if policy.floor is None and policy.minimum_count is not None and policy.minimum_count < LOWEST_FLOOR:
        yield f"minimum_count: {policy.minimum_count} counts as {LOWEST_FLOOR}, below which no site may go; write floor"
    for number, rule in enumerate(policy.tools, 1):
        leaves = rule.without_review or any(rule.release.get(each) == "automatic" for each in OF_PERSONS)
        if leaves and not rule.names_version:
            yield (
                f"tools no. {number} ({rule.id}): what says something of persons leaves by itself only of a version"
                " named by its digest (fedproc tools list --json), or with any_version = true; as it is, a person looks"
            )


def _first_that_covers(policy: Policy, later: int) -> int | None:
    rule = policy.tools[later]
    users = set(policy.users if rule.users is None else rule.users)
    for number, before in enumerate(policy.tools[:later]):
        admitted = set(policy.users if before.users is None else before.users)
        if before.id == rule.id and before.digest in ("*", rule.digest) and ("*" in admitted or users <= admitted):
            return number
    return None
