"""What the site's rules find in the sealed outputs of a job: one engine, which knows what was declared and no more.

It runs at the host, outside of the tool, and for ``fedproc catalog check`` on a tool's example output.
"""
