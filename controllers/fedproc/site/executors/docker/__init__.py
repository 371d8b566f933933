"""The Docker executor: a container per job, by an engine that speaks Docker's API on a unix socket."""
