"""Programs that tests start."""

DYING_WITH_US = ("setpriv", "--pdeathsig", "TERM")
"""before a command: the kernel ends it if the tests are killed"""
