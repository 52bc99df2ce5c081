"""A recorded machine that ships with nvdiag."""
