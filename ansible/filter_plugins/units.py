"""Filters for systemd's units: ``unit_path`` writes a path, ``linked_folders`` says which folders must be one mount."""

from collections.abc import Iterable, Mapping
from os.path import commonpath
from pathlib import PurePosixPath
from typing import Any

_SYSTEM = frozenset({"/", "/boot", "/dev", "/etc", "/home", "/opt", "/proc", "/root", "/run", "/sys", "/usr", "/var"})


def unit_path(path: str, prefix: str = "") -> str:
    """One word of a unit, whatever is in it (systemd.syntax(7)). ``prefix``: ``-`` for a path that may be missing."""
    for letter, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        path = path.replace(letter, written)
    return f'"{prefix}{path}"'


def linked_folders(datasets: Iterable[Mapping[str, Any]]) -> list[str]:
    """For each dataset with ``links`` the folder that holds both, else the links alone, and what is selected is copied.

    A folder that a unit may write is a mount of its own, and no hard link leads from one to another (link(2), EXDEV).
    """
    return sorted({_folder_of(str(of["path"]), str(of["links"])) for of in datasets if "path" in of and "links" in of})


def _folder_of(path: str, links: str) -> str:
    common = commonpath([path, links])
    is_system = common in _SYSTEM or str(PurePosixPath(common).parent) in ("/var", "/run")
    return links if is_system else common


class FilterModule:
    """Makes them known to Ansible."""

    def filters(self) -> dict[str, object]:
        return {"unit_path": unit_path, "linked_folders": linked_folders}
