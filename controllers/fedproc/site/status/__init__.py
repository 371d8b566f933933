"""How the host is: heartbeats, its own checks, metrics, and the site's control socket."""
