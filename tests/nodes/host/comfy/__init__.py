"""Stands in for ComfyUI in tests without one: the parts that the nodes use, in the form of 0.3.64."""
