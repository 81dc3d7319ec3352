"""A stand-in for the network: quick, with the same interface, and with results that tell what it has seen."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vrt_core.loading import make_link
from vrt_core.models.cards import ModelCard
from vrt_core.network import VRT, VRTConfig
from vrt_core.restorer import Restorer

LIMIT_PX = 10**9


class FakeNetwork(nn.Module):
    """Every frame depends on all frames, on the whole tile, on the flows, and on the noise level seen with it."""

    size_multiple_px = 8

    def __init__(self, *, scale: int = 1, sigma: bool = False, interpolates: bool = False, least_px: int = 8) -> None:
        super().__init__()
        self.config = VRTConfig(
            upscale=scale,
            pa_frames=0 if interpolates else 2,
            nonblind_denoising=sigma,
            img_size=(4, 8, 8),
            window_size=(2, least_px // 8, least_px // 8),
            depths=(1,) * 8,
            embed_dims=(4,) * 8,
            num_heads=(1,) * 8,
            deformable_groups=1,
            indep_reconsts=(),
        )
        self.uses_flows = not interpolates
        self.min_size_px = least_px
        self.weight = nn.Parameter(torch.ones(()))
        self.pairs = 0
        """Frame pairs whose flows were asked for."""
        self.seen: list[tuple[int, ...]] = []
        """Shape of the clip of every pass."""
        self.limit_px = LIMIT_PX
        """Pixels of a tile that still fit its memory."""
        self.before: Callable[[Tensor], object] = lambda clip: None

    def to_precision(self, dtype: torch.dtype) -> FakeNetwork:
        return self.to(dtype)

    def flows(self, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        assert a.shape[0] == 2, "both directions at once"
        assert a.shape[1] == 3
        self.pairs += 1
        difference = (b - a).mean(dim=1, keepdim=True)
        flow = torch.cat((difference, -difference), dim=1)
        return tuple(F.avg_pool2d(flow, 2**i) if i else flow for i in range(4))

    def forward(self, clip: Tensor, flows: tuple | None = None, *, check: Callable | None = None) -> Tensor:
        assert torch.is_inference_mode_enabled()
        N, T, C, H, W = clip.shape
        assert H % 8 == W % 8 == 0
        assert min(H, W) >= self.min_size_px
        assert 3 + self.config.nonblind_denoising == C
        assert clip.dtype == torch.float32
        self.before(clip)
        if self.limit_px < H * W:
            raise torch.cuda.OutOfMemoryError(f"out of memory at {H}x{W}")
        if check is not None:
            check()
        self.seen.append(tuple(clip.shape))
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


def card(network: FakeNetwork, *, window: int = 4, overlap: int = 2, name: str = "fake") -> ModelCard:
    config = network.config
    task = "interpolate" if config.interpolates else "denoise" if config.nonblind_denoising else "sr"
    window, overlap = (4, 2) if config.interpolates else (window, overlap)
    return ModelCard(name=name, task=task, scale=config.upscale, window_frames=window, overlap_frames=overlap)


def fake_link(
    *,
    scale: int = 1,
    sigma: bool = False,
    interpolates: bool = False,
    least_px: int = 8,
    window: int = 4,
    overlap: int = 2,
    name: str = "fake",
    **options: object,
) -> Any:
    """A restorer with a stand-in as its ``network``; a Link, but for the type checker."""
    network = FakeNetwork(scale=scale, sigma=sigma, interpolates=interpolates, least_px=least_px)
    return make_link(cast(VRT, network), card(network, window=window, overlap=overlap, name=name), **options)  # type: ignore[arg-type]


def random_clip(frames: int, height: int, width: int, *, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(frames, channels, height, width, generator=torch.Generator().manual_seed(seed))


def by_windows(
    restorer: Restorer, clip: Tensor, *, cuts: tuple[int, ...] = (), order: list[int] | None = None, **options: object
) -> Tensor:
    """Restore through the window door, in this order, and blend."""
    from vrt_core.inference.blending import blend

    plan = restorer.plan(*clip.shape[:1], *clip.shape[2:], cuts=cuts)
    found: dict[int, dict[int, object]] = {}
    for k in range(len(plan)) if order is None else order:
        window = plan[k]
        for share in restorer.restore_window(window, clip[window.start : window.stop], **options):  # type: ignore[arg-type]
            found.setdefault(share.index, {})[k] = share
    assert sorted(found) == list(range(plan.num_frames_out))
    for n, shares in found.items():
        assert sorted(shares) == list(plan.windows_of(n))
    return torch.stack([blend([shares[k] for k in sorted(shares)]) for _, shares in sorted(found.items())])  # type: ignore[misc]


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that come into being under it and are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._sizes:
                    self._sizes[storage._cdata] = storage.nbytes()
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._forget, storage._cdata)
        return out

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def endless(clip: Tensor) -> Iterator[Tensor]:
    while True:
        yield from clip
