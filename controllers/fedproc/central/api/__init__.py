"""The HTTP API: one application, its endpoints and what lies around every request."""
