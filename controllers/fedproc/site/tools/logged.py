"""That a tool came to this host stands in the transparency log before it is unpacked."""

from __future__ import annotations

from fedproc.site.centre.api import OnWait
from fedproc.site.tlog.entries import ToolInstalled, ToolUsed
from fedproc.site.tlog.log import HostLog
from fedproc.site.tools.cache import InstalledTool, OnInstall


def tool_installed(tlog: HostLog, *, patient: bool = True) -> OnInstall:
    """What :attr:`ToolCache.on_install` is to be. It waits while the log cannot be written.

    Unless it is ``patient``: then what it gives raises :class:`HostLogError`.
    """

    async def note(installed: InstalledTool, on_wait: OnWait) -> None:
        tool = installed.manifest.tool
        entry = ToolInstalled(tool=ToolUsed(id=tool.id, version=tool.version, digest=installed.digest))
        await (tlog.append_persistently(entry, on_wait) if patient else tlog.append(entry))

    return note
