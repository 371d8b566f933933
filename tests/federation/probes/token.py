"""Prints this host's access token, got as its orchestrator gets it."""

import asyncio
import json
import sys
from pathlib import Path

import httpx

from fedproc.common.tls import client_context
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity
from fedproc.site.settings import load


async def main() -> None:
    json.loads(sys.stdin.readline())
    settings = load(Path("/etc/fedproc/host.toml"))
    egress = ProxyConnector.from_settings(settings.centre)
    async with egress.http_client(client_context(settings.centre.ca_file), httpx.Timeout(20)) as http:
        print(json.dumps({"token": await Identity(settings, http).token()}))


asyncio.run(main())
