"""NVFLARE's client behind :mod:`flare_parts.guard`: ``python -m flare_parts.client_train``, NVFLARE's arguments."""

from __future__ import annotations

import sys

from nvflare.fuel.f3.mpm import MainProcessMonitor
from nvflare.private.fed.app.client import client_train

from . import guard

if __name__ == "__main__":
    guard.install()
    arguments = client_train.parse_arguments()
    sys.exit(MainProcessMonitor.run(main_func=client_train.main, run_dir=arguments.workspace, args=arguments))
