"""Who may use which dataset: the providers that are asked, and the user's session in whose name they are."""
