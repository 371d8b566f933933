"""What can go wrong in a way that a person can act on.

The texts may reach a researcher by the job's log: they name files, columns, lines and hosts, never a value.
"""

from __future__ import annotations


class Fault(Exception):
    """Input or parameters that cannot be worked with; the text says what, where, and what to do."""

    exit_code = 2


class Broken(Fault):
    """The computation itself failed: a host, an answer or the connection was lost, or it did not converge."""

    exit_code = 3
