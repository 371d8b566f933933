"""What is checked, what was found and what follows: the records that probes, rules and reports share."""
