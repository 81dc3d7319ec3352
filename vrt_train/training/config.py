"""Configuration of a training run, read from TOML."""

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data.config import DataConfig

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run; the TOML files have the same keys."""

    network: dict[str, Any]
    """Arguments of ``build_network``."""
    data: DataConfig = field(default_factory=DataConfig)
    final_data: DataConfig | None = None
    """Data of the end of the run, such as longer or larger clips; None for the same data throughout."""
    final_share: float = 0.4
    """Share of the run with ``final_data``, 0-1."""
    start_from: str | None = None
    """Initial weights, copied where they fit (see ``warm_start``): a file in ``pretrained/``, a model, or a weights
    file; None for random ones."""
    start_sha256: str | None = None
    """Checksum of the weights file of ``start_from``, for a model that may change; None for no check."""
    flow_from: str | None = None
    """Component with the initial weights of SpyNet; ``vrt download spynet`` downloads the published one."""
    head_steps: int = 0
    """Steps at the beginning without the stages, which train the other layers quickly: the head of SR, the
    deconvolution of deblurring."""
    seed: int = 0
    """Seed of the weights and the batches."""
    steps: int = 20000
    """Length of the run; planned again during the run if its wall time is limited."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    warmup: int = 100
    """Steps until the peak."""
    final_ratio: float = 0.02
    """Final learning rate / peak."""
    flow_learning_rate_ratio: float = 0.1
    """Learning rate of SpyNet / learning rate of the other layers."""
    flow_frozen_steps: int = 2000
    """Steps before SpyNet is trained as well."""
    flow_weight: float = 0.01
    """Weight of the flow error (pixels) in the loss; the Charbonnier loss has weight 1."""
    epsilon: float = 1e-3
    """Epsilon of the Charbonnier loss sqrt(difference^2 + epsilon^2)."""
    clip_norm: float = 0.5
    """Maximum norm of the gradient."""
    ema_decay: float = 0.999
    """Decay of the averaged weights."""
    checkpointing: bool = False
    """Whether the stages use gradient checkpointing: slower, less memory."""
    bf16: bool = False
    """Whether convolutions and matrix products run in bfloat16 (flows, softmax, norms and the loss never do)."""
    log_steps: int = 20
    """Steps between rows of `train.csv`, each a mean."""
    checkpoint_steps: int = 200
    """Steps between checkpoints."""
    validate_steps: int = 500
    """Steps between validations."""
    replan_steps: int = 100
    """Steps between plans of the length of a run of limited wall time."""
    flow_pretraining: dict[str, int] = field(default_factory=dict)
    """Steps of SpyNet's pre-training at the start of the run; empty for none. ``level_steps`` and ``joint_steps``; for
    interpolation and deblurring ``steps``, which fine-tune the SpyNet of ``start_from``."""

    def __post_init__(self) -> None:
        """Give the data the spacing of the network's prior."""
        step_px = self.network.get("prior_step_px", 0)
        for name in ("data", "final_data"):
            if (data := getattr(self, name)) is not None:
                object.__setattr__(self, name, replace(data, prior_step_px=step_px))

    @classmethod
    def read(cls, path: Path) -> "TrainConfig":
        """Read a TOML file.

        ``final_data`` lists only the keys that differ from ``data``.

        Raises:
            TypeError: If a key is unknown.
            ValueError: If a value of the data is impossible.
        """
        values = tomllib.loads(path.read_text())
        for name in {"data", "final_data"} & values.keys():
            table = values.get("data", {}) | values[name] if name == "final_data" else values[name]
            values[name] = {key: tuple(x) if isinstance(x, list) else x for key, x in table.items()}
        for name in {"data", "final_data"} & values.keys():
            values[name] = DataConfig(**values[name])
        return cls(**values)


def find_config(name: str) -> Path:
    """Return the TOML file of a configuration.

    Args:
        name: A path, or the name of a configuration in ``CONFIGS`` ("sr-small" or "sr_small").

    Raises:
        ValueError: If there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = sorted(CONFIGS.glob("*.toml"))
    for file in known:
        if file.stem == name.replace("-", "_"):
            return file
    raise ValueError(f"config ({name!r}) is no file and no known name; known: {', '.join(file.stem for file in known)}")
