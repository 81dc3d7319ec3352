"""The node API."""
