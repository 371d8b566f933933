"""The one job of this tool, as NVFLARE describes it: both ends know it, and no other is run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

NAME = "nvflare-image"
SETTINGS = "NVFLARE_IMAGE_SETTINGS"
"""the variable that names the file with what this job's processes need to know"""
TRAIN = "train"
VALIDATE = "validate"
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


def refuse(why: str) -> None:
    """Note why this site ends its part: for the program that waits for it."""
    path = Path(settings()["refused"])
    if not path.exists():
        path.write_text(why)
