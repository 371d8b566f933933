"""One federation for all tests here."""

from tests.running import running

__all__ = ["running"]
