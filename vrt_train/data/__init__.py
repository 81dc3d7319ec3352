"""Training data: sources, films, moving photos, degradations and batches."""
