"""Settings of the central programs: one TOML file, read once, frozen, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fedproc.common.toml_settings import Section, load_toml

Role = Literal["researcher", "operator", "admin"]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]


class IssuerSettings(Section):
    """The OIDC issuer whose tokens count, and how its claims are read."""

    url: Url
    discovery_url: Url | None = Field(None, description="where it is asked, if not at url (inside the centre)")
    audience: str = "fedproc-api"
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256")
    role_claims: tuple[str, ...] = ("realm_access.roles", "eduperson_entitlement")
    roles: dict[Role, tuple[str, ...]] = Field(
        {"researcher": ("researcher",), "operator": ("operator",), "admin": ("admin",)},
        description="our role: the claim values that give it",
    )
    host_claim: str = "fedproc_host"
    ca_file: Path | None = None
    client_id: str = Field("fedproc-api", description="our own client, for POST /token and token exchange")
    client_key: Path | None = Field(None, description="PEM, for private_key_jwt")
    dashboard_client_id: str = "fedproc-dashboard"
    cli_client_id: str = "fedproc-cli"


class BrokerSettings(Section):
    """How the relay reaches the broker; it signs in with a token of its own client, never with a password."""

    host: str = "127.0.0.1"
    port: int = 5671
    vhost: str = "/"
    tls: bool = True
    ca_file: Path | None = None
    client_id: str = "fedproc-relay"
    client_key: Path = Field(description="PEM, for private_key_jwt")


Days = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RetentionSettings(Section):
    """For how many days the centre keeps what it has, by kind; 0: for ever. What is open is kept in any case."""

    experiments: Days = Field(730, description="an ended experiment with its jobs, inputs and results, after its end")
    files: Days = Field(365, description="files that users put at the centre themselves, after their last byte")
    uploads: Days = Field(7, description="files of which not all bytes have come, after their last byte")
    events: Days = Field(180, description="states, metrics and log lines of ended experiments")
    records: Days = Field(1, description="which records of a job were ingested, after its end")
    outbox: Days = Field(14, description="messages to hosts that were sent")
    dead_letters: Days = Field(90, description="messages that nobody could read")
    enrolments: Days = Field(90, description="enrolments that were refused, expired, or of hosts that left")
    audit: Days = Field(3650, description="who did what")
    orphans: Days = Field(7, description="bytes in the file store that no entry names, after they were found")


class QuotaSettings(Section):
    """What one user may have at once, and ask for."""

    open_experiments: int = Field(200, ge=1, description="experiments that have not ended")
    stored_mb: int = Field(200_000, ge=1, description="files and results together, MB")
    submission_mb: int = Field(100, ge=1, description="the parameters of all jobs of one experiment together, MB")
    requests_per_minute: int = Field(6_000, ge=1, description="at one API process")


class UserQuotaSettings(Section):
    """What one user may have instead; what is left out is as for everybody."""

    open_experiments: int | None = Field(None, ge=1)
    stored_mb: int | None = Field(None, ge=1)
    submission_mb: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)


class CentralSettings(Section):
    """All of the centre. The API and the relay read the same file."""

    database: str = Field(description="sqlite:///PATH or postgresql+psycopg://…")
    files: Path = Field(description="folder of the file store")
    runtime: Path = Field(description="folder for sockets by which the central programs wake each other")
    public_url: Url = Field(description="the API's address as users and hosts see it")
    listen_host: str = "127.0.0.1"
    listen_port: int = 8000
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    dispatch_key: Path = Field(description="PEM, P-256: signs what goes to hosts")
    catalogue_keys: tuple[Path, ...] = Field(description="PEM, public: whose manifests are taken in")
    authority: Path | None = Field(None, description="PEM: the certificate by which hosts and servers are certified")
    issuer: IssuerSettings
    broker: BrokerSettings
    aggregator: str = Field("EUCAIM", description="host on which server tasks are placed")
    acceptance_tool: str = Field("host-acceptance", description="tool that a new host must run well")
    heartbeat_seconds: float = 10
    release_days: float = Field(14, description="how long after its run a job may await its release")
    hold_seconds: float = Field(600, description="how long a gang's job waits prepared for the others")
    max_upload_mb: int = Field(10_000, description="largest file taken in, MB")
    quota: QuotaSettings = Field(QuotaSettings(), description="of every user")
    quotas: dict[str, UserQuotaSettings] = Field({}, description="of single users, by the subject of their tokens")
    metrics_port: int | None = Field(None, description="relay: loopback port of /metrics")
    session_hours: float = Field(12, gt=0, le=720, description="how long a sign-in at the dashboard lasts at most")
    health_seconds: float = Field(3, description="how long an answer of /hosts/health/ is kept")
    log_level: str = "INFO"
    retention: RetentionSettings = RetentionSettings()

    def quota_of(self, user: str) -> QuotaSettings:
        """What a user may have, by the subject of the token."""
        own = self.quotas.get(user)
        return self.quota if own is None else self.quota.model_copy(update=own.model_dump(exclude_none=True))


def load(path: Path) -> CentralSettings:
    """Read and check the file. Raises :class:`InvalidInputError` naming file, key and fault."""
    return load_toml(path, CentralSettings)
