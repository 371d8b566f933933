"""What the site allows: which tools and users, and what may leave."""
