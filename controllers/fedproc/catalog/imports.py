"""What a tool's programs import that nothing brings: told before a first run, which would end with it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from fedproc.contract.tool.tool import Manifest

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*==", re.MULTILINE)

_OTHERWISE = {"skimage": "scikit-image", "sklearn": "scikit-learn", "cv2": "opencv-python-headless", "PIL": "pillow"}
"""packages whose name says nothing of their module's"""


def unknown_imports(manifest: Manifest, folder: Path) -> list[str]:
    """One line for each module that is imported and is none of the tool's own, of Python's, or of a locked package.

    Nothing of a tool whose environment an image alone brings, nor of what is imported only where it is there (in a
    ``try``). A package's modules are known by its name, or where it is installed here: "look at", and no fault.
    """
    if not manifest.requirements:
        return []
    own = {part for file in manifest.files for part in Path(file.path).with_suffix("").parts}
    locked = _locked(manifest, folder)
    known = own | sys.stdlib_module_names | _installed_of(locked)
    programs = sorted(file.path for file in manifest.files if file.path.endswith(".py"))
    locks = ", ".join(sorted(manifest.requirements))
    return [
        f"{path}, line {line}: imports {name}, which is neither in the folder nor in {locks} under that name"
        for path in programs
        for line, name in _imported(folder / path)
        if name not in known
        and _OTHERWISE.get(name) not in locked
        and not any(_normal(name) in each for each in locked)  # grpc of grpcio, yaml of pyyaml
    ]


def _locked(manifest: Manifest, folder: Path) -> set[str]:
    texts = [(folder / name).read_text(errors="replace") for name in manifest.requirements if (folder / name).is_file()]
    return {_normal(name) for text in texts for name in _PINNED.findall(text)}


def _installed_of(locked: set[str]) -> set[str]:
    return {
        module for module, brought in packages_distributions().items() if locked.intersection(map(_normal, brought))
    }


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """The first word of each module, where it is imported first; nothing of a file that is no Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    seen: set[str] = set()
    for node in _outside_of_tries(tree):
        for name in _names(node):
            if name not in seen:
                seen.add(name)
                yield node.lineno, name


def _outside_of_tries(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop(0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.Try):
            queue.extend(ast.iter_child_nodes(node))


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [] if node.level or not node.module else [node.module.partition(".")[0]]
