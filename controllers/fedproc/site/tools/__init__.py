"""Tools on this host: fetched, checked, and made ready to run."""
