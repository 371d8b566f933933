"""Tools on a host: signed, fetched, with environments that take no time to build."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import yaml
from joserfc.jwk import ECKey

from fedproc.catalog.bundle import pack
from fedproc.catalog.folder import load_tool
from fedproc.catalog.signing import sign_manifest, tool_digest
from fedproc.common.keys import Signer
from fedproc.contract.tool.tool import ToolRef
from fedproc.site.policy.policy_file import Policy
from fedproc.site.retention.tools import ToolRuntimes, Tools
from fedproc.site.tools.cache import InstalledTool, ToolCache
from fedproc.site.tools.venvs import VenvRuntimes

TOOL = Path(__file__).parents[1] / "resilience/tools/tally/tool.yaml"
SIGNER = Signer(ECKey.generate_key("P-256"))


class Venvs(VenvRuntimes):
    """Environments that a command of no effect builds."""

    async def _run(self, *command: str, **variables: str) -> None:
        if "venv" in command:
            await asyncio.to_thread(Path(command[-1]).mkdir)


class ToolStore:
    """Tools that are there, and what they run in; ``used`` are of open jobs."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self._folder = folder
        self.cache = ToolCache(folder / "tools", SIGNER.trusted, cast(Any, None))
        self.venvs = Venvs(folder / "environments", Path("/usr/bin/python3"), shared=shared)
        self.policy = Policy()
        self.used: set[str] = set()
        ask = (90, lambda: self.policy, lambda: self.used, lambda: 0.0)
        self.tools, self.environments = Tools(self.cache, *ask), ToolRuntimes(self.venvs, self.cache, *ask)

    async def has(self, name: str, version: str) -> str:
        """Fetch a tool and build its environment; returns its digest."""
        folder = self._folder / f"{name}-{version}"
        folder.mkdir()
        (folder / "r.lock").write_text(f"# of {name} {version}\n")
        task = {"name": "local", "placement": "client", "command": ["true"], "runtime": {"requirements": "r.lock"}}
        changed = {"id": name, "version": version, "parameters": {"type": "object"}, "tasks": [task]}
        (folder / "tool.yaml").write_text(yaml.safe_dump(yaml.safe_load(TOOL.read_text()) | changed))
        manifest = load_tool(folder)
        self.cache.ingest(sign_manifest(manifest, SIGNER), pack(folder, manifest))
        digest = tool_digest(manifest)
        await self.use(name, version, digest)
        return digest

    async def use(self, name: str, version: str, digest: str) -> InstalledTool:
        installed = await self.cache.get(ToolRef(id=name, version=version, digest=digest), lambda _: None)
        task = installed.manifest.tool.task("local")
        runtime = await self.venvs.ready(installed, task)
        self.cache.note_ready(installed, "local", runtime.label)
        return installed

    def admit(self, *lines: tuple[str, str]) -> None:
        self.policy = Policy.model_validate({"tools": [{"id": tool, "digest": digest} for tool, digest in lines]})

    @property
    def here(self) -> set[str]:
        return {tool.digest for tool in self.cache.stored()}
