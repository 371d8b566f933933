"""A bare FastAPI route that answers with the same bytes to everyone: ``python -m bench.bare PORT FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response


def create_app(answer: bytes) -> FastAPI:
    """One route, of the same shape as that of a job."""
    app = FastAPI(openapi_url=None)

    @app.get("/experiments/{experiment}/jobs/{job}")
    async def job(experiment: str, job: str) -> Response:
        return Response(answer, media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(Path(sys.argv[2]).read_bytes()), port=int(sys.argv[1]), log_config=None, access_log=False)
