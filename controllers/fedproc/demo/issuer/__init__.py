"""A loopback-only OIDC issuer, which stands in for Keycloak on one machine; no other machine can reach it."""
