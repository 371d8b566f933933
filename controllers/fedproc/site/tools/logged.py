"""That a tool came to this host stands in the transparency log before it is unpacked."""

from __future__ import annotations

from fedproc.site.tlog.entries import ToolInstalled, ToolUsed
from fedproc.site.tlog.log import HostLog
from fedproc.site.tools.cache import InstalledTool, OnInstall


def tool_installed(tlog: HostLog) -> OnInstall:
    """What :attr:`ToolCache.on_install` is to be. What it gives raises :class:`HostLogError`."""

    async def note(installed: InstalledTool) -> None:
        tool = installed.manifest.tool
        await tlog.append(ToolInstalled(tool=ToolUsed(id=tool.id, version=tool.version, digest=installed.digest)))

    return note
