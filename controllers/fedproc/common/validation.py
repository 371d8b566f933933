"""What pydantic finds wrong, as lines for people."""

from __future__ import annotations

from pydantic import ValidationError


def lines_of(error: ValidationError) -> list[str]:
    """One line for each fault: where it is, and what is wrong."""
    return [
        f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}"
        for entry in error.errors(include_url=False, include_input=False)
    ]
