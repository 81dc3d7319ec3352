import math

import pytest
import torch
from torch.testing import assert_close

from vrt_core.network.extensions.motion_deconvolution import (
    MotionDeconvolution,
    flow_confidence,
    inverse_of_box,
    lag_autocorrelation,
    motion_of_frames,
)

SPEED_PX, SHUTTER = (6.0, 3.0), 0.8


def waves(x_px: torch.Tensor, y_px: torch.Tensor) -> torch.Tensor:
    """A picture known at every point: waves of 10 to 40 px across and along the motion."""
    picture = torch.full(x_px.shape, 0.5)
    for angle, length in ((0.0, 10.0), (0.6, 14.0), (1.6, 12.0), (2.5, 40.0)):
        along = math.cos(angle) * x_px + math.sin(angle) * y_px
        picture = picture + 0.1 * torch.sin(2 * math.pi * along / length + angle)
    return picture


def frames(shutter: float, num_frames: int = 3, size_px: int = 64) -> torch.Tensor:
    """The picture in even motion, (1, T, 3, H, W), the mean of 101 moments of each exposure."""
    y_px, x_px = torch.meshgrid(torch.arange(size_px), torch.arange(size_px), indexing="ij")
    moments = torch.linspace(-shutter / 2, shutter / 2, 101)
    picture = [
        torch.stack([waves(x_px - (t + s) * SPEED_PX[0], y_px - (t + s) * SPEED_PX[1]) for s in moments]).mean(dim=0)
        for t in range(num_frames)
    ]
    return torch.stack(picture)[None, :, None].expand(-1, -1, 3, -1, -1).contiguous()


def even_flows(num_frames: int, size_px: int) -> tuple[torch.Tensor, torch.Tensor]:
    flow = torch.tensor(SPEED_PX).view(1, 1, 2, 1, 1).expand(1, num_frames - 1, 2, size_px, size_px)
    return flow, -flow


def psnr_inside(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10 * math.log10((a - b)[..., 16:-16, 16:-16].square().mean())


@torch.inference_mode()
def test_blur_along_the_motion_is_undone():
    sharp, blurred = frames(0.0), frames(SHUTTER)
    careful, bold = (
        blurred + x for x in MotionDeconvolution([SHUTTER])(blurred, *even_flows(3, 64)).chunk(3, dim=2)[1:]
    )
    before = psnr_inside(blurred, sharp)
    assert psnr_inside(careful, sharp) > before + 6
    assert psnr_inside(bold, sharp) > before + 14


@torch.inference_mode()
def test_the_wrong_shutter_or_motion_helps_less():
    sharp, blurred = frames(0.0), frames(SHUTTER)

    def bold(shutter: float, turned: bool = False) -> float:
        backward, forward = even_flows(3, 64)
        if turned:
            backward, forward = backward.flip(2) * backward.new_tensor([-1, 1]).view(2, 1, 1), forward.flip(2)
        return psnr_inside(blurred + MotionDeconvolution([shutter])(blurred, backward, forward)[:, :, 6:], sharp)

    right = bold(SHUTTER)
    assert bold(0.4) < right - 6
    assert bold(1.0) < right - 3
    assert bold(SHUTTER, turned=True) < right - 6


@torch.inference_mode()
def test_what_stands_still_stays_as_it_is():
    clip = torch.rand(2, 3, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(2, 2, 2, 24, 40)
    assert MotionDeconvolution([0.5, 1.0])(clip, none, none).abs().max() < 1e-5


@pytest.mark.parametrize("shutter", [0.4, 1.0])
@pytest.mark.parametrize("iterations", [4, 15])
def test_the_weights_invert_a_box_as_far_as_it_lets_through(shutter: float, iterations: int):
    weights = inverse_of_box(shutter, iterations)
    assert_close(weights.sum(), torch.tensor(1.0))
    assert_close(weights, weights.flip(0), atol=1e-5, rtol=0)
    places = 0.1 * torch.arange(-20, 21)
    for cycles in (0.1, 0.25):  # in the length of the box
        response = float((weights * torch.cos(2 * math.pi * cycles / shutter * places)).sum())
        box = math.sin(math.pi * cycles) / (math.pi * cycles)
        expected = 1 - (1 - box**2) ** (iterations + 1)
        assert response * box == pytest.approx(expected, abs=0.1)  # the weights end at two frames


def test_changes_are_opposed_one_box_apart():
    generator = torch.Generator().manual_seed(0)
    line = torch.randn(400, generator=generator)
    for length in (5, 8):  # in steps of a tenth of a frame
        blurred = line.unfold(0, length, 1).mean(dim=1)[: 41 + 300]
        samples = blurred.unfold(0, 41, 1).T.reshape(1, 1, 41, 1, -1)
        lags = lag_autocorrelation(samples).mean(dim=(0, 2, 3))
        assert int(lags.argmin()) + 2 == length
        assert lags.min() < -0.3


@torch.inference_mode()
def test_flow_is_trusted_where_it_makes_neighbours_alike():
    clip = frames(0.0)
    backward, forward = even_flows(3, 64)
    inner = (..., slice(16, -16), slice(16, -16))
    assert flow_confidence(clip, backward, forward)[inner].min() > 0.9
    assert flow_confidence(clip, -backward, -forward)[inner].mean() < 0.6
    still = flow_confidence(clip, torch.zeros_like(backward), torch.zeros_like(forward))
    assert_close(still, torch.full_like(still, 0.5))


@torch.inference_mode()
def test_nothing_is_believed_at_first():
    clip = frames(SHUTTER)
    blend, guesses = MotionDeconvolution([0.4, SHUTTER])(clip, *even_flows(3, 64)).split((3, 12), dim=2)
    assert blend.abs().mean() < 0.25 * guesses.abs().mean()


def test_the_motion_at_the_ends_is_that_of_their_one_side():
    backward = torch.arange(1.0, 4.0).view(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 4)
    forward = -10 * backward
    motion = motion_of_frames(backward, forward)
    assert motion[0, :, 0, 0, 0].tolist() == [1.0, (2 + 10) / 2, (3 + 20) / 2, 30.0]


@torch.inference_mode()
def test_frames_in_parts_are_frames_at_once(monkeypatch: pytest.MonkeyPatch):
    clip, deconvolve = frames(SHUTTER), MotionDeconvolution([0.6, 1.0])
    whole = deconvolve(clip, *even_flows(3, 64))
    monkeypatch.setattr("vrt_core.network.ops.chunking.chunk_size", lambda *_: 1)
    assert_close(deconvolve(clip, *even_flows(3, 64)), whole, rtol=0, atol=1e-6)
