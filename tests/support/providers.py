"""Stand-ins of those who know who may use what: real HTTP servers whose answers a test changes while they run."""

from __future__ import annotations

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, Key

AVAILABLE = "RESOURCE_MADE_AVAILABLE"


class StandIn:
    """Answers GET; ``status`` and ``takes`` (seconds) hold for all of its answers, ``raw`` replaces the body."""

    def __init__(self) -> None:
        self.status = 200
        self.takes = 0.0
        self.raw: bytes | None = None
        self.asked: list[tuple[str, dict[str, str], str]] = []
        """path, query and authorization of each request"""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, query: dict[str, str], token: str) -> Any:
        raise NotImplementedError

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                token = self.headers.get("authorization", "")
                server.asked.append((address.path, query, token))
                time.sleep(server.takes)
                body = json.dumps(server.answer(address.path, query, token)).encode()
                content = body if server.raw is None else server.raw
                self.send_response(server.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


class Adapter(StandIn):
    """EUCAIM's adapter of the Negotiator: of concluded negotiations the resources that were made available, of those
    in progress all, and without their states."""

    def __init__(self, page: int = 2) -> None:
        super().__init__()
        self.page = page
        self.concluded: list[dict[str, Any]] = []
        self.in_progress: list[dict[str, Any]] = []

    def make_available(self, *resources: str, **told: str) -> str:
        """One more concluded negotiation, with what it tells of itself; its id."""
        self.concluded.append(negotiation(*resources) | told)
        return str(self.concluded[-1]["id"])

    def answer(self, path: str, query: dict[str, str], token: str) -> Any:
        entries = self.concluded if query.get("type") == "CONCLUDED" else self.in_progress
        size = min(self.page, int(query.get("size", 30)))
        number = int(query.get("page", 0))
        return {
            "size": size, "number": number, "totalElements": len(entries), "totalPages": -(-len(entries) // size),
            "data": entries[number * size : (number + 1) * size],
        }  # fmt: skip


def negotiation(*resources: str, **more: Any) -> dict[str, Any]:
    entries = [{"id": str(n), "name": f"collection {n}", "sourceId": name, **more} for n, name in enumerate(resources)]
    return {"id": str(uuid.uuid4()), "creationDate": "2026-01-01", "modifiedDate": "2026-01-01", "resources": entries}


class Broker(StandIn):
    """The userinfo of a GA4GH broker."""

    def __init__(self, sub: str = "rosa") -> None:
        super().__init__()
        self.claims: dict[str, Any] = {"sub": sub}

    def answer(self, path: str, query: dict[str, str], token: str) -> Any:
        return self.claims


class VisaSigner:
    """Who signs visas: REMS, say."""

    def __init__(self, iss: str = "https://rems.test", key: Key | None = None) -> None:
        self.iss = iss
        self.jku = f"{iss}/api/jwk"
        self.key = key or ECKey.generate_key("P-256", {"kid": "visa-key"})
        self.algorithm = "RS256" if self.key.key_type == "RSA" else "ES256"

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**self.key.as_dict(private=False), "kid": self.key.kid}]}

    def visa(
        self, sub: str = "rosa", value: str = "UB:cohort", *, header: dict[str, Any] | None = None,
        about: dict[str, Any] | None = None, key: Key | None = None, **claims: Any,
    ) -> str:  # fmt: skip
        """A visa that gives access; ``header``, ``about`` and ``claims`` replace what it usually has, None removes."""
        now = int(time.time())
        usual_header = {"alg": self.algorithm, "kid": self.key.kid, "jku": self.jku, "typ": "JWT"}
        usual_about = {
            "type": "ControlledAccessGrants", "asserted": now - 60, "value": value,
            "source": "https://hospital.test", "by": "dac",
        }  # fmt: skip
        usual = {
            "iss": self.iss, "sub": sub, "iat": now, "exp": now + 3600, "jti": "visa-1",
            "ga4gh_visa_v1": _merged(usual_about, about),
        }  # fmt: skip
        signing = key or self.key
        merged = _merged(usual_header, header)
        return jwt.encode(merged, _merged(usual, claims), signing, algorithms=["ES256", "RS256", "HS256", "PS256"])


def _merged(usual: dict[str, Any], own: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **(own or {})}.items() if value is not None}
