"""What the central API takes and gives over HTTP (D6.1 "Analysis Platform API definition"; docs/wire.md)."""
