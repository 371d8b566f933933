"""Python's collector of garbage, in programs that run for long."""

from __future__ import annotations

import gc


def keep_what_is_loaded() -> None:
    """What a program has loaded by its start stays: it is not looked through for garbage again.

    To do so takes 0.1 s with all of the API, and comes whenever a message or an answer has a thousand parts.
    """
    gc.collect()
    gc.freeze()
