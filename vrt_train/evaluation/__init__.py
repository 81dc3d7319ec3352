"""Evaluation: clips, metrics, baselines."""
