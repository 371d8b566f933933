"""How pods get at folders of this host: as parts of the volumes that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedproc.site.executors.base import ExecutorError
from fedproc.site.settings import KubernetesFolder


class SharedFolders:
    """The folders of the settings; the longest that holds a path is the one that is used for it."""

    def __init__(self, folders: Sequence[KubernetesFolder]) -> None:
        self._folders = sorted(folders, key=lambda folder: len(folder.path.parts), reverse=True)

    def mount(self, source: str, target: str, *, writable: bool) -> dict[str, Any]:
        """An entry of ``volumeMounts``. Raises :class:`ExecutorError` for what the nodes do not have."""
        path = Path(source).resolve()
        for number, folder in enumerate(self._folders):
            if path.is_relative_to(folder.path.resolve()):
                inside = [part for part in (folder.sub_path, str(path.relative_to(folder.path.resolve()))) if part]
                part = "/".join(part for part in inside if part != ".")
                where = {"subPath": part} if part else {}
                return {"name": _name(number), "mountPath": target, "readOnly": not writable, **where}
        raise ExecutorError(
            f"{source} is in no folder that the cluster's nodes have: name one in the settings (kubernetes.folders)",
            code="system_fault.kubernetes",
        )

    def volumes(self, mounts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The entries of ``volumes`` that these mounts use."""
        used = {mount["name"] for mount in mounts}
        named = [(_name(number), folder) for number, folder in enumerate(self._folders)]
        return [{"name": name, **_source(folder)} for name, folder in named if name in used]

    def has(self, path: Path) -> bool:
        """Whether the nodes have this folder."""
        return any(path.resolve().is_relative_to(folder.path.resolve()) for folder in self._folders)


def _name(number: int) -> str:
    return f"shared-{number}"


def _source(folder: KubernetesFolder) -> dict[str, Any]:
    if folder.claim is not None:
        return {"persistentVolumeClaim": {"claimName": folder.claim}}
    return {"hostPath": {"path": str(folder.host_path), "type": "Directory"}}
