"""What can be wrong with a source of data: what passes, and what does not."""

from __future__ import annotations


class RemoteError(Exception):
    """A PACS or a Data API did not give what was asked for. The text has its own reason, and is for the site alone.

    ``status`` is that of its answer, if it refused, and ``code`` what its problem document has.
    """

    def __init__(self, text: str, status: int | None = None, code: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class RemotePassingError(RemoteError):
    """The same request may succeed later: it does not answer, was cut, or says so itself."""
