"""The one job of this tool, as NVFLARE describes it: both ends know it, and no other is run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from nvflare.apis.app_validation import AppValidator
from nvflare.lighter.tool_consts import NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE

NAME = "nvflare-image"
SETTINGS = "NVFLARE_IMAGE_SETTINGS"
"""the variable that names the file with what this job's processes need to know"""
TRAIN = "train"
VALIDATE = "validate"
SIGNATURES = (NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE)
"""what NVFLARE's server puts beside: it has been looked at before"""
EXECUTOR = "flare_parts.site.SitePart"
WORKFLOW = "flare_parts.averaging.Averaging"
CONFIGS: dict[str, dict[str, Any]] = {
    "config/config_fed_client.json": {
        "format_version": 2,
        "executors": [{"tasks": [TRAIN, VALIDATE], "executor": {"path": EXECUTOR, "args": {}}}],
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
    },
    "config/config_fed_server.json": {
        "format_version": 2,
        "workflows": [{"id": "averaging", "path": WORKFLOW, "args": {}}],
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
    },
}


def settings() -> dict[str, Any]:
    """What this job's processes need to know."""
    found: dict[str, Any] = json.loads(Path(os.environ[SETTINGS]).read_bytes())
    return found


def write_job(folder: Path, hosts: int) -> None:
    """The job as it is submitted."""
    for name, config in CONFIGS.items():
        path = folder / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config))
    meta = {"name": NAME, "resource_spec": {}, "deploy_map": {"app": ["@ALL"]}, "min_clients": hosts}
    (folder / "meta.json").write_text(json.dumps(meta))


class SameJob(AppValidator):
    """Lets in the job of this tool's own source, byte for byte in meaning, and nothing that the server sends beside."""

    def validate(self, app_folder: str) -> tuple[str, dict[str, Any]]:
        root = Path(app_folder)
        files = [path for path in root.rglob("*") if not path.is_dir() and path.name not in SIGNATURES]
        found = {str(path.relative_to(root)): path for path in files}
        try:
            same = found.keys() == CONFIGS.keys() and all(
                json.loads(path.read_bytes()) == CONFIGS[name] for name, path in found.items()
            )
        except (OSError, ValueError):
            same = False
        if not same:
            refuse("the server sends another job than this tool's")
            return "this site runs the job of its own tool alone", {}
        return "", {}


def refuse(why: str) -> None:
    """Note why this site ends its part: for the program that waits for it."""
    path = Path(settings()["refused"])
    if not path.exists():
        path.write_text(why)
