"""A dataset's tables described for it: proposed by what their files hold, and checked as tools read them."""
