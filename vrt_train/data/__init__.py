"""Training data: sources, moving photos, degradations, batches."""
