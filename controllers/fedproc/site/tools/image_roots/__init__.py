"""Images of tools as folders, unpacked by this host itself: what the sandbox runs where there is no engine."""
