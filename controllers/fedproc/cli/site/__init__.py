"""``fedproc site``: what a person does on a host; one module for each group of its commands."""
