"""Training of VRT models: data, training loop, evaluation and export.

Each command is a module of this package (``python -m vrt_train.train``, ``evaluate``, ``export``, ``plot``,
``prepare``). The library behind them: ``data`` (clips, degradations, batches), ``training`` (losses, trainer) and
``evaluation`` (metrics, baselines, scores).
"""
