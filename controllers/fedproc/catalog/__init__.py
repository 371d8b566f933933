"""The catalogue of tools: load and check a tool's folder, sign its manifest, pack and unpack its source.

The **catalogue key** says that a tool was approved: it signs manifests, may stay offline, and is not the dispatch
key. A host that trusts it verifies every manifest, and every file by the manifest, before it runs anything.
"""
