"""Real restorers of a fake network: fast, and with results that depend on every input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrt_core.inference.blending import WeightedFrame, blend
from vrt_core.inference.runner import ModelRunner
from vrt_core.loading import make_runner
from vrt_core.models.cards import ModelCard
from vrt_core.network import VRT, VRTConfig
from vrt_core.options import OPTIONS, RestoreOptions
from vrt_core.restorer import Restorer

LIMIT_PX = 10**9


class FakeNetwork(nn.Module):
    """Each output frame depends on all frames, on the whole tile, on the flows, and on the noise level."""

    size_multiple_px = 8

    def __init__(self, *, scale: int = 1, sigma: bool = False, interpolates: bool = False, min_px: int = 8) -> None:
        super().__init__()
        self.config = VRTConfig(
            upscale=scale,
            pa_frames=0 if interpolates else 2,
            nonblind_denoising=sigma,
            img_size=(4, 8, 8),
            window_size=(2, min_px // 8, min_px // 8),
            depths=(1,) * 8,
            embed_dims=(4,) * 8,
            num_heads=(1,) * 8,
            deformable_groups=1,
            indep_reconsts=(),
        )
        self.uses_flows = not interpolates
        self.min_size_px = min_px
        self.weight = nn.Parameter(torch.ones(()))
        self.pairs = 0
        """Frame pairs whose flows were computed."""
        self.inputs: list[tuple[int, ...]] = []
        """Shape of the clip of every pass."""
        self.limit_px = LIMIT_PX
        """Maximum pixels of a tile; more raise an out-of-memory error."""
        self.before: Callable[[Tensor], object] = lambda clip: None

    def to_precision(self, dtype: torch.dtype) -> FakeNetwork:
        return self.to(dtype)

    def flow_frames(self, clip: Tensor) -> Tensor:
        return clip[..., :3, :, :]

    def flows(self, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        assert a.shape[0] == 2, "both directions at once"
        assert a.shape[1] == 3
        self.pairs += 1
        difference = (b - a).mean(dim=1, keepdim=True)
        flow = torch.cat((difference, -difference), dim=1)
        return tuple(F.avg_pool2d(flow, 2**i) if i else flow for i in range(4))

    def forward(self, clip: Tensor, flows: tuple | None = None, *, on_block: Callable | None = None) -> Tensor:
        assert torch.is_inference_mode_enabled()
        N, T, C, H, W = clip.shape
        assert H % 8 == W % 8 == 0
        assert min(H, W) >= self.min_size_px
        assert 3 + self.config.nonblind_denoising == C
        assert clip.dtype == torch.float32
        self.before(clip)
        if self.limit_px < H * W:
            raise torch.cuda.OutOfMemoryError(f"out of memory at {H}x{W}")
        if on_block is not None:
            on_block()
        self.inputs.append(tuple(clip.shape))
        clip = clip.to(self.weight.dtype)
        rgb = clip[:, :, :3]
        if self.config.interpolates:
            assert T == 4
            weights = clip.new_tensor([0.1, 0.3, 0.4, 0.2]).view(1, 4, 1, 1, 1)
            return (weights * rgb).sum(dim=1, keepdim=True).float()
        out = 0.8 * rgb + 0.1 * rgb.mean(dim=1, keepdim=True) + 0.1 * rgb.mean(dim=(-1, -2), keepdim=True)
        if C == 4:
            out = out + clip[:, :, 3:]
        if T > 1:
            assert flows is not None
            backward, forward = flows
            for i in range(4):
                assert backward[i].shape == forward[i].shape == (N, T - 1, 2, H >> i, W >> i)
                assert backward[i].dtype == torch.float32
            add = torch.zeros_like(out)
            add[:, :-1] += backward[0][:, :, :1]
            add[:, 1:] += forward[1][:, :, 1:].repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
            out = out + 0.1 * add
        s = self.config.upscale
        return out.repeat_interleave(s, dim=-1).repeat_interleave(s, dim=-2).float()


def fake_card(network: FakeNetwork, *, window: int = 4, overlap: int = 2, name: str = "fake") -> ModelCard:
    config = network.config
    task = "interpolate" if config.interpolates else "denoise" if config.nonblind_denoising else "sr"
    window, overlap = (4, 2) if config.interpolates else (window, overlap)
    return ModelCard(name=name, task=task, scale=config.upscale, window_frames=window, overlap_frames=overlap)


def fake_runner(
    *,
    scale: int = 1,
    sigma: bool = False,
    interpolates: bool = False,
    min_px: int = 8,
    window: int = 4,
    overlap: int = 2,
    name: str = "fake",
    **options: Any,
) -> ModelRunner:
    """A real runner of a fake network; options are fields of ``RestoreOptions``, ``dtype`` and ``is_oom``."""
    network = FakeNetwork(scale=scale, sigma=sigma, interpolates=interpolates, min_px=min_px)
    card = fake_card(network, window=window, overlap=overlap, name=name)
    extras = {key: options.pop(key) for key in ("dtype", "is_oom", "device") if key in options}
    return make_runner(cast(VRT, network), card, RestoreOptions(**options), **extras)


def fake_restorer(**facts: Any) -> Restorer:
    """A real restorer of one fake network; arguments as in ``fake_runner``."""
    options = {key: value for key, value in facts.items() if key in OPTIONS}
    return Restorer([fake_runner(**facts)], options=RestoreOptions(**options))


def network_of(restorer: Restorer) -> FakeNetwork:
    """The fake network of a restorer of one network."""
    (runner,) = restorer.runners
    return cast(FakeNetwork, runner.network)


def random_clip(frames: int, height: int, width: int, *, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(frames, channels, height, width, generator=torch.Generator().manual_seed(seed))


def by_windows(
    restorer: Restorer, clip: Tensor, *, cuts: tuple[int, ...] = (), order: list[int] | None = None, **options: Any
) -> Tensor:
    """Restore window by window, in this order, and blend."""
    plan = restorer.plan(*clip.shape[:1], *clip.shape[2:], cuts=cuts)
    frames: dict[int, dict[int, WeightedFrame]] = {}  # by output frame, then by window
    for k in range(len(plan)) if order is None else order:
        window = plan[k]
        for part in restorer.restore_window(window, clip[window.start : window.stop], **options):
            frames.setdefault(part.index, {})[k] = part
    assert sorted(frames) == list(range(plan.num_frames_out))
    for n, parts in frames.items():
        assert sorted(parts) == list(plan.windows_for_frame(n))
    return torch.stack([blend([parts[k] for k in sorted(parts)]) for _, parts in sorted(frames.items())])


def endless(clip: Tensor) -> Iterator[Tensor]:
    while True:
        yield from clip
