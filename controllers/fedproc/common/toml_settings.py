"""Settings: one TOML file for each program, read once into a frozen object; unknown keys are refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fedproc.common.errors import InvalidInputError
from fedproc.common.files import read_regular
from fedproc.common.validation import explain

M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """A table of a settings file: frozen, and a misspelt key is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def load_toml(path: Path, model: type[M]) -> M:
    """Read a TOML file into ``model``. Raises :class:`InvalidInputError` naming file, key and fault."""
    return load_toml_with_content(path, model)[0]


def load_toml_with_content(path: Path, model: type[M]) -> tuple[M, bytes]:
    """As :func:`load_toml`, and the bytes that were read for it."""
    values: dict[str, Any] = {}
    try:
        content = read_regular(path)
        values = tomllib.loads(content.decode("utf-8-sig"))  # editors put a byte order mark before it
        return model.model_validate(values), content
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise InvalidInputError(f"{path}: " + "; ".join(explain(error, model, values))) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}: not TOML: {error}") from error
