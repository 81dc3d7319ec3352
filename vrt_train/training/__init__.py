"""The trainer: losses, schedule, EMA, distributed training, SpyNet pre-training."""
