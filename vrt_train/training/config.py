"""The settings of a training run."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.dataset import DataConfig

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run; read from a TOML file with the same names."""

    network: dict[str, Any]
    """Arguments of ``build_network``."""
    data: DataConfig = field(default_factory=DataConfig)
    final_data: DataConfig | None = None
    """Longer or larger clips for the end of the run; None for the same all along."""
    final_share: float = 0.4
    """Share of the run that uses ``final_data``."""
    start_from: str | None = None
    """Model, or weights file, whose weights are taken over where they fit; None for random ones."""
    flow_from: str | None = None
    """Component whose SpyNet is taken over; ``vrt download spynet`` fetches the published one."""
    head_steps: int = 0
    """Steps at the beginning that leave the stages out, so that what lies around them learns quickly what it can do
    alone: the head of SR, the deconvolution of deblurring."""
    seed: int = 0
    """Of the weights and the batches."""
    steps: int = 20000
    """Length of the run; re-planned on the way if the run is given minutes."""
    rate: float = 1e-3
    """Peak learning rate."""
    warmup: int = 100
    """Steps until the peak."""
    final_ratio: float = 0.02
    """Rate at the end / peak."""
    flow_rate_ratio: float = 0.1
    """Rate of SpyNet / rate of the rest."""
    flow_frozen_steps: int = 2000
    """Steps before SpyNet is trained along."""
    flow_weight: float = 0.01
    """Weight of the flow error (pixels) beside the Charbonnier loss."""
    epsilon: float = 1e-3
    """Of the Charbonnier loss sqrt(difference^2 + epsilon^2)."""
    clip_norm: float = 0.5
    """Longest gradient."""
    ema_decay: float = 0.999
    """Decay of the averaged weights."""
    checkpointing: bool = False
    """Whether features inside the stages are computed again for the gradient rather than kept: slower, less memory."""
    bf16: bool = False
    """Whether convolutions and products run in bfloat16 (flows, softmax, norms and the loss never do)."""
    log_steps: int = 20
    checkpoint_steps: int = 200
    validate_steps: int = 500
    replan_steps: int = 100
    flow_pretraining: dict[str, int] = field(default_factory=dict)
    """``level_steps`` and ``joint_steps`` of SpyNet's pre-training, done first if the run has no SpyNet weights yet.
    For interpolation and deblurring ``steps``, which go on from the SpyNet of ``start_from``."""

    @classmethod
    def read(cls, path: Path) -> "TrainConfig":
        """Read a TOML file; unknown names are errors. ``final_data`` lists only what differs from ``data``."""
        values = tomllib.loads(path.read_text())
        for name in {"data", "final_data"} & values.keys():
            table = values.get("data", {}) | values[name] if name == "final_data" else values[name]
            values[name] = {key: tuple(x) if isinstance(x, list) else x for key, x in table.items()}
        for name in {"data", "final_data"} & values.keys():
            values[name] = DataConfig(**values[name])
        return cls(**values)


def find_config(name: str) -> Path:
    """Return the TOML file of a configuration, given as a path or by name ("sr-small" or "sr_small").

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
