"""A job's outputs on their way out: held to rules and to earlier releases, decided, masked or encrypted, uploaded."""
