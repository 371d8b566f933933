"""Who calls: the issuer's tokens and keys."""
