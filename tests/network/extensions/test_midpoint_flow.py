import pytest
import torch

from vrt_core import InputError, build_network
from vrt_core.network.extensions.midpoint_flow import warp_to_midpoint
from vrt_core.network.spynet import SpyNet

SMALL = {
    "upscale": 1,
    "img_size": [4, 32, 32],
    "window_size": [4, 4, 4],
    "depths": [1] * 8,
    "indep_reconsts": [],
    "embed_dims": [8] * 8,
    "num_heads": [2] * 8,
    "pa_frames": 0,
    "flow_channels": [4, 4, 4, 4],
    "head_channels": 8,
    "middle_flow": True,
}


class Knowing(SpyNet):
    """Answers with one displacement everywhere."""

    def __init__(self, x_px: float, y_px: float) -> None:
        super().__init__((4, 4, 4, 4))
        self.displacement = torch.tensor([x_px, y_px])

    def midpoint_flow(self, a, b):
        return self.displacement.view(1, 2, 1, 1).expand(a.shape[0], 2, *a.shape[2:])


def moving(x_px: int, y_px: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Four frames of a picture that moves by twice this much from one to the next, and the frame in the middle."""
    picture = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))

    def at(time: int) -> torch.Tensor:
        top, left = 32 - time * y_px, 32 - time * x_px
        return picture[..., top : top + 32, left : left + 32]

    return torch.stack([at(time) for time in (-3, -1, 1, 3)], dim=1), at(0)


def test_even_motion_brings_all_frames_to_the_middle():
    frames, middle = moving(2, 1)
    inputs, guess, _ = warp_to_midpoint(Knowing(4.0, 2.0), frames)
    assert inputs.shape == (1, 4, 6, 32, 32)
    inner = slice(8, 24)
    for warped in inputs[0, :, :3]:
        torch.testing.assert_close(warped[:, inner, inner], middle[0, :, inner, inner], atol=1e-4, rtol=0)
    torch.testing.assert_close(inputs[:, :, 3:], frames)
    torch.testing.assert_close(guess[..., inner, inner], middle[..., inner, inner], atol=1e-3, rtol=0)


def test_a_wrong_flow_is_not_trusted():
    frames = torch.rand(1, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).expand(-1, 4, -1, -1, -1)
    _, guess, _ = warp_to_midpoint(Knowing(9.0, 5.0), frames)
    torch.testing.assert_close(guess, frames[:, 0], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_the_network_begins_as_the_guess_and_takes_any_size():
    network = build_network(**SMALL)
    for parameter in network.conv_last.parameters():
        parameter.zero_()
    clip = torch.rand(1, 5, 3, 45, 70, generator=torch.Generator().manual_seed(2))
    out = network(clip)
    assert out.shape == (1, 2, 3, 45, 70)
    still = clip[:, :1].expand(-1, 4, -1, -1, -1)
    torch.testing.assert_close(network(still)[:, 0], still[:, 0], atol=2e-2, rtol=0)


def test_middle_flow_is_for_even_interpolation_networks():
    for wrong in ({"pa_frames": 2}, {"img_size": [5, 32, 32]}):
        with pytest.raises(InputError, match="middle_flow"):
            build_network(**SMALL | wrong)
