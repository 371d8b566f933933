"""The life of jobs on this host: taken, staged in, run, staged out, ended."""
