"""What keeps a job within its limits, whichever executor runs it."""
