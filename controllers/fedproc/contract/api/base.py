"""What all requests and answers of the central API share; errors and tokens."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Text of a person, without control characters."""


MediaType = Annotated[str, StringConstraints(pattern=r"^[\w.+-]+/[\w.+-]+$", max_length=127)]


def shown(*examples: dict[str, Any]) -> ConfigDict:
    """The configuration of a request whose description shows these examples; each is valid."""
    return ConfigDict(json_schema_extra={"examples": list(examples)})


class Request(BaseModel):
    """What comes in: unknown keys are refused, so that a misspelt one is not silently without effect."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """What goes out. Clients ignore what they do not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Problem(View):
    """An error (RFC 9457, ``application/problem+json``). ``cure`` says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str = Field(description="stable, for programs")
    errors: list[dict[str, Any]] = Field([], description="one entry per fault of the input: where, what")


class Token(View):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str | None = None
    scope: str | None = None
