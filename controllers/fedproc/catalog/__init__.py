"""The catalogue of tools: load and check a tool's folder, sign its manifest, pack and unpack its source.

The **catalogue key** says that a tool was approved: it signs manifests, may stay offline, and is not the dispatch
key. A host that trusts it verifies every manifest, and every file by the manifest, before it runs anything.
"""

from fedproc.catalog.bundle import pack, unpack
from fedproc.catalog.folder import load_catalogue, load_tool
from fedproc.catalog.signing import sign_manifest, tool_digest, verify_manifest

__all__ = ["load_catalogue", "load_tool", "pack", "sign_manifest", "tool_digest", "unpack", "verify_manifest"]
