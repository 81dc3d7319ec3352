"""The node that runs."""
