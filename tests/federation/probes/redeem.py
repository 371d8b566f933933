"""On a host: redeems the id of its job at the API, as its orchestrator does; prints the answer with its status."""

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
    given = json.loads(sys.stdin.readline())
    settings = load(Path("/etc/fedproc/host.toml"))
    egress = ProxyConnector.from_settings(settings.centre)
    async with egress.http_client(client_context(settings.centre.ca_file), httpx.Timeout(40)) as http:
        headers = {"Authorization": f"Bearer {await Identity(settings, http).token()}"}
        url = f"{settings.centre.api_url}/hosts/{given['host']}/jobs/{given['job']}/grants"
        answer = await http.post(url, headers=headers)
    print(json.dumps({"status": answer.status_code, "body": answer.json()}))


asyncio.run(main())
