"""Measurements on frames that need no network: scene cuts and noise level."""
