"""A check's result for people: on a terminal, as a page, as a survey of all hosts, as an archive."""
