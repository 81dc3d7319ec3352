"""Restorer that returns its input: the real engine over a network that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, cast

from torch import Tensor

from tests.helpers.fake_restorers import FakeNetwork, fake_card
from vrt_core.loading import make_runner
from vrt_core.network import VRT
from vrt_core.options import RestoreOptions
from vrt_core.restorer import Restorer


class IdentityNetwork(FakeNetwork):
    """Returns the frames, enlarged by repetition; of four frames the second, if it interpolates."""

    def forward(self, clip: Tensor, flows: tuple | None = None, **callbacks: Callable[[], object] | None) -> Tensor:
        self.before(clip)
        for callback in callbacks.values():  # called between blocks; raises to cancel
            if callback is not None:
                callback()
        rgb = clip[:, 1:2, :3] if self.config.interpolates else clip[:, :, :3]
        scale = self.config.upscale
        return rgb.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)


class RecordingRestorer(Restorer):
    """Records the arguments of its last stream."""

    stream_arguments: dict[str, Any]

    def stream(self, frames: Any, **arguments: Any) -> Iterator[Tensor]:
        self.stream_arguments = arguments
        return super().stream(frames, **arguments)


def identity_restorer(
    *,
    scale: int = 1,
    interpolates: bool = False,
    sigma: bool = False,
    window: int = 1,
    before_pass: Callable[[int], object] = lambda n: None,
) -> RecordingRestorer:
    """Return a restorer whose windows do not overlap, hence with exact results.

    Args:
        scale: Output height over input height.
        interpolates: Whether to make two frames of each.
        sigma: Whether the model needs a noise level.
        window: Frames in a window.
        before_pass: Called with the number of every network pass before it, from 0 on.
    """
    network = IdentityNetwork(scale=scale, sigma=sigma, interpolates=interpolates)
    numbers = count()
    network.before = lambda clip: before_pass(next(numbers))
    card = fake_card(network, window=window, overlap=0)
    return RecordingRestorer([make_runner(cast(VRT, network), card, RestoreOptions(tile_px=0))])
