"""The process of the job at a site, behind :mod:`flare_parts.guard`, with the arguments that NVFLARE's client gives."""

from __future__ import annotations

import os
import sys

from nvflare.fuel.f3.mpm import MainProcessMonitor
from nvflare.private.fed.app.client import worker_process

from . import guard

if __name__ == "__main__":
    guard.install()
    arguments = worker_process.parse_arguments()
    folder = os.path.join(arguments.workspace, arguments.job_id)
    sys.exit(MainProcessMonitor.run(main_func=worker_process.main, run_dir=folder, args=arguments))
