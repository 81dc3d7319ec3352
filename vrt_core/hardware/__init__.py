"""Devices, CUDA streams and CPU threads."""
