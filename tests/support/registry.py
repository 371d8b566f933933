"""Clients of a gateway's artifact registry, as its writers and its hosts have them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.support.gateway import NAME, Gateway

from fedproc.catalog.registry import Registry, Token
from fedproc.common.tls import client_context
from fedproc.demo.engine import MACHINES_OWN, answers
from fedproc.site.settings import RegistrySettings
from fedproc.site.tools.registry import SiteRegistry

needs_docker = pytest.mark.skipif(not answers(MACHINES_OWN), reason="no Docker engine runs on this machine")


def registry(gateway: Gateway, token: str | Token) -> Registry:
    http = httpx.Client(verify=client_context(gateway.keys.ca_file), trust_env=False, timeout=30)
    return Registry(NAME, gateway.url, token if callable(token) else lambda _: token, http, attempts=2)


def site_registry(gateway: Gateway, folder: Path, token: str | Token) -> SiteRegistry:
    settings = RegistrySettings(name=NAME, url=gateway.url)
    return SiteRegistry(
        settings, gateway.keys.ca_file, folder, "host-UB", token if callable(token) else lambda _: token
    )
