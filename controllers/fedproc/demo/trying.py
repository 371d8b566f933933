"""A tool provider's loop in a running federation: what was changed is published, and every host admits it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import tomli_w

from fedproc.catalog.bundle import pack
from fedproc.catalog.folder import load_tool
from fedproc.catalog.imports import unknown_imports
from fedproc.catalog.signing import sign_manifest, tool_digest
from fedproc.cli.registry import published
from fedproc.client.api import Client
from fedproc.client.transport import ApiError
from fedproc.common.errors import ConflictError, InvalidInputError, UnavailableError
from fedproc.common.files import write_atomically
from fedproc.common.keys import Signer, signer_for
from fedproc.contract.ids import version_key
from fedproc.contract.tool.tool import Manifest, Tool
from fedproc.demo.configuration import HOSTS, policy_of
from fedproc.demo.federation import Federation
from fedproc.demo.keys import Keyring
from fedproc.demo.polling import wait_until

Say = Callable[[str], None]
_SECONDS = 30


def offer_tools(federation: Federation, root: Path, say: Say) -> list[Manifest]:
    """Publish the tools in ``root``, or the one that it is, as they are now; returns what the federation offers then.

    One whose version is there with other content gets a version of its own above it, as a published one never changes;
    so does one whose change was taken back, as the newest is what runs.
    Raises :class:`UnavailableError` if no federation runs, :class:`InvalidInputError` for a tool that is not right.
    """
    if federation.is_starting:
        raise UnavailableError(
            f"the federation in {federation.folder} is starting still: try again when make demo-up ends"
        )
    if not federation.supervisor.is_running():
        raise UnavailableError(f"no federation runs in {federation.folder}: make demo-up starts one")
    signer = signer_for(Keyring(federation.folder / "keys").key("catalogue").private)
    operator = federation.client("operator")
    try:
        offered = [_publish(operator, signer, folder, _read(folder, say), say) for folder in _folders(root)]
        _admit(federation, offered)
        wanted = {tool_digest(manifest) for manifest in offered}
        wait_until(lambda: _is_admitted(operator, wanted), _SECONDS, "not every host says that it admits the tools")
    finally:
        operator.close()
    return offered


def _folders(root: Path) -> Iterator[Path]:
    found = [root] if (root / "tool.yaml").exists() else sorted(path.parent for path in root.glob("*/tool.yaml"))
    if not found:
        raise InvalidInputError(f"{root} holds no tool: give a tool's folder, or one that holds one folder per tool")
    yield from found


def _read(folder: Path, say: Say) -> Manifest:
    manifest = load_tool(folder)
    for hint in unknown_imports(manifest, folder):
        say(f"look at: {hint}")
    return manifest


def _publish(operator: Client, signer: Signer, folder: Path, manifest: Manifest, say: Say) -> Manifest:
    tried = _newest_try(operator, manifest.tool, say)
    try:
        if (there := published(operator, _as_version(manifest, tried), signer)) is not None:
            say(f"{there.tool.id} {there.tool.version} is there as it is")
            return there
    except ConflictError:
        manifest = _as_version(manifest, _next(manifest.tool.version))
    added = operator.add_tool(sign_manifest(manifest, signer), pack(folder, manifest))
    say(f"{added.id} {added.version} is published")
    return manifest


def _newest_try(operator: Client, tool: Tool, say: Say) -> str:
    """The version under which the tool was last published here: one of its tries, or its own."""
    try:
        newest = operator.tool(tool.id).version
    except ApiError as error:
        if error.status == 404:
            return tool.version
        raise
    if newest.startswith(_tries_of(tool.version)):
        return newest
    if version_key(newest) > version_key(tool.version):
        say(f"{tool.id} {newest} is newer: fedproc run {tool.id} --version {tool.version} runs this one")
    return tool.version


def _as_version(manifest: Manifest, version: str) -> Manifest:
    return manifest.model_copy(update={"tool": manifest.tool.model_copy(update={"version": version})})


def _next(version: str) -> str:
    """Above ``version``, below whatever its provider publishes next, and above what was tried before."""
    return f"{_tries_of(version)}{datetime.now(UTC):%Y%m%d%H%M%S%f}"


def _tries_of(version: str) -> str:
    """How the versions of its tries begin."""
    major, minor, patch = version.partition("-")[0].split(".")
    return f"{major}.{minor}.{int(patch) + 1}-dev."


def _admit(federation: Federation, offered: list[Manifest]) -> None:
    """Add a line for each to every host's policy, and have the hosts read it."""
    for host in HOSTS:
        path = federation.folder / f"policy-{host}.toml"
        policy = tomllib.loads(path.read_text())
        known = {(rule["id"], rule["digest"]) for rule in policy["tools"]}
        rules = policy_of([(federation.folder, manifest) for manifest in offered])["tools"]
        policy["tools"] += [rule for rule in rules if (rule["id"], rule["digest"]) not in known]
        write_atomically(path, tomli_w.dumps(policy).encode())
        federation.supervisor.signal(f"orchestrator-{host}", "HUP")


def _is_admitted(operator: Client, wanted: set[str]) -> bool:
    return all(wanted <= {tool.digest for tool in host.tools} for host in operator.hosts() if host.id in HOSTS)
