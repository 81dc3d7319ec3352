"""Which node runs."""
