"""What a person can put right."""

from __future__ import annotations


class Fault(Exception):
    """Input or parameters that cannot be used; the text says what, where, and what to do.

    The text may reach a researcher by the job's log: it names files, columns and line numbers, never a value.
    """
