"""Settings of the central programs: one TOML file, read once, frozen, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from fedproc.common.toml_settings import Section, load_toml

Role = Literal["researcher", "operator", "admin"]
OPEN = "open"
"""the provider that grants everybody"""
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
Origin = Annotated[
    str, StringConstraints(pattern=r"^(https://[a-z0-9.-]+(:\d{1,5})?|http://(localhost|127\.0\.0\.1)(:\d{1,5})?)$")
]
"""of a page, as a browser sends it: ``https://host[:port]``, in lower case and without a path"""


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
    submissions: Days = Field(365, description="tools that were sent in, after the decision")
    traces: Days = Field(365, description="what the tracing service was told, or would be if it answered")
    audit: Days = Field(3650, description="who did what")
    orphans: Days = Field(7, description="bytes in the file store that no entry names, after they were found")


class QuotaSettings(Section):
    """What one user may have at once, and ask for."""

    open_experiments: int = Field(200, ge=1, description="experiments that have not ended")
    stored_mb: int = Field(200_000, ge=1, description="files and results together, MB")
    stored_files: int = Field(100_000, ge=1, description="files and results together, however small")
    submission_mb: int = Field(100, ge=1, description="the parameters of all jobs of one experiment together, MB")
    requests_per_minute: int = Field(6_000, ge=1, description="at one API process")


class UserQuotaSettings(Section):
    """What one user may have instead; what is left out is as for everybody."""

    open_experiments: int | None = Field(None, ge=1)
    stored_mb: int | None = Field(None, ge=1)
    stored_files: int | None = Field(None, ge=1)
    submission_mb: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)


class ProviderSettings(Section):
    """What every provider of grants has."""

    ask_at: str = Field("", description="where a user asks for access: an address or a sentence, told with a refusal")
    audience: str | None = Field(
        None, description="a client at the issuer: the provider gets a token for it alone, not the user's own"
    )
    ca_file: Path | None = None
    seconds: float = Field(10, gt=0, le=60, description="one answer of it may take")


class NegotiatorSettings(ProviderSettings):
    """EUCAIM's adapter of the Negotiator (user-negotiations-info)."""

    kind: Literal["negotiator"]
    url: Url = Field(description="of the adapter, without /api/v1/negotiations")
    projects: bool = Field(
        False, description="its negotiations tell project, permit, purpose and until; what users write must agree"
    )


class VisaIssuerSettings(Section):
    """One whose visas count."""

    iss: Url
    jku: Url = Field(description="the only one that its visas may name; nothing is fetched there")
    keys: Path = Field(description="its JWK set, in a file: what no key in it has signed does not count")
    subjects_of: Url | None = Field(None, description="the issuer whose subjects its visas name, if not itself")
    types: tuple[Literal["ControlledAccessGrants", "LinkedIdentities"], ...] = ("ControlledAccessGrants",)
    sources: tuple[str, ...] | None = Field(None, description="on whose word it may give access; all unless given")


class PassportSettings(ProviderSettings):
    """GA4GH visas, as a broker's userinfo gives them."""

    kind: Literal["passport"]
    userinfo_url: Url
    issuers: tuple[VisaIssuerSettings, ...] = Field(min_length=1)
    asserted_days: float = Field(180, gt=0, description="what a visa says was asserted at most so long ago")
    identity_claims: dict[str, Url] = Field({}, description="claim of the userinfo: of which issuer a subject it is")


class DatasetGrantSettings(Section):
    """Who is asked about one dataset, instead of who is asked about its host's others."""

    provider: str | None = None
    resource: str | None = Field(None, description="what the provider calls it, if not HOST:id")


AnyProvider = Annotated[NegotiatorSettings | PassportSettings, Field(discriminator="kind")]


class GrantSettings(Section):
    """Who is asked who may use a dataset. The provider ``open`` is there by itself, and grants everybody."""

    default: str = "open"
    providers: dict[str, AnyProvider] = {}
    hosts: dict[str, str] = Field({}, description="by host: the provider that is asked about its datasets")
    datasets: dict[str, DatasetGrantSettings] = Field({}, description="by HOST:id")

    @model_validator(mode="after")
    def _providers_are_there(self) -> Self:
        """A misspelt one must not become an open door."""
        named = {self.default, *self.hosts.values(), *(d.provider for d in self.datasets.values())} - {None, OPEN}
        if OPEN in self.providers or (missing := sorted(str(name) for name in named - self.providers.keys())):
            what = "is there by itself" if OPEN in self.providers else f"has no {', '.join(missing)}"
            raise ValueError(f"providers {what}: name one of them, or {OPEN}")
        return self

    def provider_of(self, dataset: str) -> str:
        """The name of the provider that is asked about ``HOST:id``."""
        entry = self.datasets.get(dataset)
        own = None if entry is None else entry.provider
        return own or self.hosts.get(dataset.partition(":")[0]) or self.default

    def resource_of(self, dataset: str) -> str:
        """What the provider calls ``HOST:id``."""
        entry = self.datasets.get(dataset)
        return dataset if entry is None or entry.resource is None else entry.resource


Iri = Annotated[str, StringConstraints(max_length=500, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+$")]


class TracingSettings(Section):
    """EUCAIM's tracing service, which is told of each use of a dataset (docs/operations/central.md)."""

    url: Url = Field(description="of the service, without /api")
    api: Literal["v1", "v2"] = "v2"
    token_url: Url = Field(description="where the centre's client gets its tokens, with a client that may write traces")
    client_id: str
    client_secret_file: Path = Field(description="a file that holds the client's secret alone")
    scope: str = ""
    ca_file: Path | None = None
    seconds: float = Field(10, gt=0, le=60, description="one answer of it may take")
    extended: bool = Field(
        False, description="also tell experiment, host, project, digest and released results; v1 and v2 refuse them"
    )


class AgentSettings(Section):
    """An organisation, with a way to reach it."""

    name: str = Field(min_length=1, max_length=300)
    email: str | None = Field(None, pattern=r"^[^@\s<>?&]+@[^@\s<>?&]+$")
    page: Url | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.email is None and self.page is None:
            raise ValueError(f"{self.name}: give email or page")
        return self


class DescribedSettings(Section):
    """What a data catalogue says of a dataset that its host cannot know; concepts are IRIs of EUCAIM's vocabularies."""

    interoperability_level: Iri | None = None
    health_categories: tuple[Iri, ...] = ()
    types: tuple[Iri, ...] = ()
    condition: Iri | None = None
    collection_methods: tuple[Iri, ...] = ()
    provenance: tuple[str, ...] = Field((), description="how it was collected and processed, in English")
    keywords: tuple[str, ...] = Field((), description="what its images and tables tell, unless given")
    rights: Literal["REMOTE_PROCESSING", "IN_SITU_PROCESSING"] = "REMOTE_PROCESSING"


class DataCatalogueSettings(Section):
    """What the hosts offer, as a data catalogue, as EUCAIM's DCAT-AP has it (``GET /data/catalogue``)."""

    title: str = "Datasets of the federation"
    description: str = "What its hosts offer for processing where the data are."
    publisher: AgentSettings = AgentSettings(
        name="EUCAIM", email="contact@cancerimage.eu", page="https://cancerimage.eu/contact-us/"
    )
    hdab: AgentSettings | None = Field(None, description="the health data access body, once it is designated")
    access_url: Url | None = Field(None, description="where access is asked for; the dataset's own page unless given")
    legislation: tuple[Url, ...] = Field(("http://data.europa.eu/eli/reg/2025/327/oj",), min_length=1)
    concepts: dict[str, Iri] = Field({}, description="of values of DICOM, such as modality=CT or body_part=BREAST")
    every: DescribedSettings = Field(DescribedSettings(), description="of each dataset")
    datasets: dict[str, DescribedSettings] = Field({}, description="by HOST:id, instead of what is said of each")

    def of(self, dataset: str) -> DescribedSettings:
        """What is said of ``HOST:id``: its own entry, and for what that leaves out the entry of all."""
        own = self.datasets.get(dataset)
        return self.every if own is None else self.every.model_copy(update=dict(own.model_dump(exclude_unset=True)))


class CentralSettings(Section):
    """All of the centre. The API and the relay read the same file."""

    database: str = Field(description="sqlite:///PATH or postgresql+psycopg://…")
    files: Path = Field(description="folder of the file store")
    tlog: Path | None = Field(None, description="folder of the transparency log; tlog beside files unless given")
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
    cors_origins: tuple[Origin, ...] = Field(
        (), description="other sites whose pages may call the API with a token of their user, as https://host[:port]"
    )
    help: str = Field(
        "", max_length=300, pattern=r"^(|https://\S+|[^@\s<>?&]+@[^@\s<>?&]+)$",
        description="where users get help: a mail address, or an https address",
    )  # fmt: skip
    health_seconds: float = Field(3, description="how long an answer of /hosts/health/ is kept")
    log_level: str = "INFO"
    retention: RetentionSettings = RetentionSettings()
    grants: GrantSettings = GrantSettings()
    data_catalogue: DataCatalogueSettings = DataCatalogueSettings()
    tracing: TracingSettings | None = Field(None, description="nobody is told unless given")

    @property
    def tlog_folder(self) -> Path:
        return self.tlog or self.files.parent / "tlog"

    @property
    def tlog_origin(self) -> str:
        """The name of a new transparency log of this centre, as C2SP has it: unique, and with no space."""
        return f"{urlsplit(self.public_url).hostname or 'fedproc'}/centre"

    def quota_of(self, user: str) -> QuotaSettings:
        """What a user may have, by the subject of the token."""
        own = self.quotas.get(user)
        return self.quota if own is None else self.quota.model_copy(update=own.model_dump(exclude_none=True))


def load(path: Path) -> CentralSettings:
    """Read and check the file. Raises :class:`InvalidInputError` naming file, key and fault."""
    return load_toml(path, CentralSettings)
