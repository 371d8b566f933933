"""On the centre: sets how long tokens of one client are good, in seconds; an empty text is the realm's own time."""

import json
import sys

import httpx

given = json.loads(sys.stdin.readline())
with httpx.Client(base_url="http://127.0.0.1:8080", timeout=60) as http:
    form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": given["password"]}
    token = http.post("/realms/master/protocol/openid-connect/token", data=form).raise_for_status().json()
    http.headers["Authorization"] = f"Bearer {token['access_token']}"
    found = http.get("/admin/realms/fedproc/clients", params={"clientId": given["client"]}).raise_for_status().json()[0]
    found["attributes"]["access.token.lifespan"] = given["seconds"]
    http.put(f"/admin/realms/fedproc/clients/{found['id']}", json=found).raise_for_status()
print(json.dumps("done"))
