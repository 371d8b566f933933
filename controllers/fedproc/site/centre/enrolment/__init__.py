"""How this host comes into a federation, and shows that it works."""
