"""The filter ``to_toml``: a dictionary as a TOML document, anything else as a TOML value."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import tomli_w
from ansible.errors import AnsibleFilterError


def to_toml(value: Any) -> str:
    """Raises AnsibleFilterError, which names the key, for what TOML cannot say: a key without a value."""
    if isinstance(value, Mapping):
        return tomli_w.dumps(_plain(value, ""))
    return tomli_w.dumps({"value": _plain(value, "")}).removeprefix("value = ").rstrip("\n")


def _plain(value: Any, place: str) -> Any:
    if value is None:
        raise AnsibleFilterError(f"{place or 'it'} has no value: give it one, or take the key away")
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{place}.{key}".lstrip(".")) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{place} no. {number}") for number, inner in enumerate(value, 1)]
    # YAML reads a version like 2024-05-01 as a date; no setting is one.
    return value.isoformat() if isinstance(value, date) else value


class FilterModule:
    """Makes it known to Ansible."""

    def filters(self) -> dict[str, object]:
        return {"to_toml": to_toml}
