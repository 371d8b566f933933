"""Settings of ``fedproc data-api``: one TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from fedproc.common.toml_settings import Section, load_toml
from fedproc.contract.ids import DatasetId
from fedproc.site.dataset_settings import LOOPBACK, DatasetSettings


class TokenSettings(Section):
    """Whose tokens let cohorts be made: users' access tokens with this host's audience."""

    issuer: str = Field(pattern=r"^https?://")
    audience: str = Field(min_length=1, description="of this host, such as host-UB")
    keys_file: Path | None = Field(None, description="the issuer's keys (JWKS) in a file")
    keys_url: str | None = Field(None, pattern=r"^https?://", description="instead: where the issuer publishes them")
    ca_file: Path | None = Field(None, description="whose certificate it shows")
    algorithms: tuple[str, ...] = ("ES256", "RS256", "PS256")

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if (self.keys_file is None) == (self.keys_url is None):
            raise ValueError("give keys_file or keys_url")
        return self


class DataApiSettings(Section):
    """Where it listens, and what it offers."""

    state: Path = Field(description="folder of the indexes and of frozen cohorts")
    socket: Path | None = Field(None, description="a unix socket: whoever may open it may ask")
    listen_host: str = "127.0.0.1"
    listen_port: int | None = Field(None, ge=1, le=65535, description="instead of the socket")
    certificate: Path | None = Field(None, description="PEM; needed beyond this machine")
    key: Path | None = None
    secret_file: Path | None = Field(None, description="0600; what the orchestrator shows to list, and to read files")
    tokens: TokenSettings | None = Field(None, description="if given, a cohort needs its user's token")
    floor: int = Field(10, ge=1, description="persons: numbers are multiples of it, and no selection has fewer")
    results: Path | None = Field(
        None, description="folder where the orchestrator notes what was released; it is listed"
    )
    datasets: dict[DatasetId, DatasetSettings] = {}
    dataset_seconds: float = Field(60, ge=1, description="between two looks at a dataset, which walk all its files")
    dataset_reread_days: float = Field(30, ge=0, description="after which all bytes are read again; 0: never")
    cohort_days: float = Field(30, gt=0, description="after which a cohort that nobody forgot is forgotten")
    log_level: str = "INFO"

    @model_validator(mode="after")
    def _listens_safely(self) -> Self:
        if (self.socket is None) == (self.listen_port is None):
            raise ValueError("give socket or listen_port")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give certificate and key, or neither")
        if self.listen_port is not None and self.secret_file is None and self.tokens is None:
            raise ValueError("a port is open to everybody on the machine: give secret_file or tokens")
        if self.listen_port is not None and self.listen_host not in LOOPBACK and self.certificate is None:
            raise ValueError("beyond this machine it needs certificate and key")
        if others := [name for name, entry in self.datasets.items() if entry.source != "folder"]:
            raise ValueError(f"{others[0]} is no folder; only folders are offered here")
        return self


def load(path: Path) -> DataApiSettings:
    """Read and check the settings. Raises :class:`InvalidInputError` naming file, key and fault."""
    return load_toml(path, DataApiSettings)
