"""What can go wrong in a way that a person can act on.

The texts may reach a researcher by the job's log: they name parameters, hosts and numbers of persons asked for, never
a file, an element's value or a person.
"""

from __future__ import annotations


class Fault(Exception):
    """Input or parameters that cannot be worked with; the text says what, where, and what to do."""

    exit_code = 2


class UnreadableError(Exception):
    """One file that begins as DICOM and cannot be read as such."""
