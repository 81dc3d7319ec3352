"""Training loop: losses, learning-rate schedule, EMA, distributed training and SpyNet pre-training."""
