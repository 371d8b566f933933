"""An issuer that never changes: two tokens in files, and its key at https://…:9444/jwks.json."""

import http.server
import json
import ssl
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

SCOPES = {
    "relay": "rabbitmq.configure:*/*/* rabbitmq.write:*/*/* rabbitmq.read:*/*/*",
    "UB": "rabbitmq.read:*/jobs.UB/* rabbitmq.write:*/events/host.UB.*",
}

key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
public = json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "one", "use": "sig", "alg": "RS256"}
Path("published").mkdir(exist_ok=True)
Path("published/jwks.json").write_text(json.dumps({"keys": [public]}))
Path("tokens").mkdir(mode=0o700, exist_ok=True)
for name, scopes in SCOPES.items():
    claims = {
        "iss": "https://auth.fedproc.test/realms/fedproc", "aud": "rabbitmq",
        "sub": name, "azp": f"host-{name}", "client_id": f"host-{name}",
        "exp": int(time.time()) + 7200, "rabbitmq_scope": scopes,
    }  # fmt: skip
    Path("tokens", name).write_text(jwt.encode(claims, key, "RS256", headers={"kid": "one"}))


class Published(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *given):
        super().__init__(*given, directory="published")


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/etc/fedproc/tls/gateway.crt", "/etc/fedproc/tls/gateway.key")
server = http.server.ThreadingHTTPServer(("", 9444), Published)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
