"""Writes the API's description: ``python -m fedproc.central.api.write_openapi docs/openapi.json``."""

from __future__ import annotations

import sys
from pathlib import Path

from fastapi import FastAPI

from fedproc.central.api.app import routed
from fedproc.central.api.openapi import document_bytes


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m fedproc.central.api.write_openapi FILE\n")
        return 2
    Path(sys.argv[1]).write_bytes(document_bytes(routed(FastAPI(openapi_url=None))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
