"""Training: data, degradations, losses, the trainer, evaluation and export of the models that ship."""
