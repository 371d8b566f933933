"""What crosses the broker: messages, their signatures, and the broker's names (docs/wire.md)."""
