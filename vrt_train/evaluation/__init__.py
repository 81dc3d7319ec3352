"""Evaluation on real videos: clips, metrics, baselines and scores."""
