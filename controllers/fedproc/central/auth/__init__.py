"""Who calls: the issuer's tokens and keys, and sign-ins with a browser."""
