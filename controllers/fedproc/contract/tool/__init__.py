"""What a ``tool.yaml`` may say (docs/tools.md)."""
