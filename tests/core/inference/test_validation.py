"""Bad input is refused with the argument, its value, the rule, and what to do; never by an error from within torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.helpers.fake_restorers import fake_restorer, network_of, random_clip
from vrt_core import InputError
from vrt_core.inference.padding import pad_frames

GOOD = random_clip(5, 8, 8)


def with_value(value: float) -> Tensor:
    clip = GOOD.clone()
    clip[3, 1, 2, 3] = value
    return clip


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (GOOD.numpy(), "ndarray.*from_numpy"),
        (GOOD[0, 0], r"\(8, 8\).*\(T, C, H, W\)|\(C, H, W\)"),
        (GOOD[None], r"(frames has|frame 0 has) shape \(1, 5, 3, 8, 8\)|shape \(5, 3, 8, 8\), expected \(C, H, W\)"),
        (GOOD.movedim(1, -1), r"movedim\(-1, -3\)"),
        (GOOD[:, :2], "2 channels"),
        (torch.cat((GOOD, GOOD[:, :1]), dim=1), "4 channels.*leave out the fourth"),
        (GOOD[:0], "empty"),
        (GOOD[:, :, :0], "empty"),
        ((255 * GOOD).byte(), r"uint8.*frames.float\(\) / 255"),
        (GOOD.long(), "int64.*floating"),
        (with_value(float("nan")), "frame 3 .*NaN"),
        (with_value(float("inf")), "frame 3 .*infinite"),
    ],
)
def test_bad_frames(clip: object, words: str) -> None:
    restorer = fake_restorer()
    with pytest.raises(InputError, match=words):
        restorer.restore(clip)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        list(restorer.stream(clip))  # type: ignore[arg-type]
    assert network_of(restorer).inputs == []  # no window was complete before the bad frame


def test_bad_frames_of_a_window_are_named_by_their_number() -> None:
    restorer = fake_restorer()
    window = restorer.plan(20, 8, 8)[3]
    with pytest.raises(InputError, match=f"frame {window.start + 3} .*NaN"):
        restorer.restore_window(window, with_value(float("nan"))[:4])
    with pytest.raises(InputError, match=r"holds 5 frames, but window 3 reads the 4 source frames \[6, 10\)"):
        restorer.restore_window(window, GOOD)


def test_frames_of_a_stream_must_have_one_size() -> None:
    restorer = fake_restorer(window=2, overlap=0)
    results = []
    with pytest.raises(InputError, match=r"frame 4 has shape \(3, 8, 9\), the frames before it \(3, 8, 8\)"):
        results.extend(restorer.stream([*GOOD[:4], torch.zeros(3, 8, 9)], cuts="off"))
    assert len(results) == 2


@pytest.mark.parametrize("sigma", [-1, 50.5, float("nan"), "20", True, 255])
def test_bad_sigma(sigma: object) -> None:
    with pytest.raises(InputError, match=r"sigma_255 \(.*\) must be a number between 0 and 50"):
        fake_restorer(sigma=True).restore(GOOD, sigma_255=sigma)  # type: ignore[arg-type]


@pytest.mark.parametrize("sigma", [0, 50, 12.5, np.float32(3)])
def test_good_sigma(sigma: float) -> None:
    fake_restorer(sigma=True).restore(GOOD, sigma_255=sigma)


def test_noise_must_be_told_once_to_those_who_ask() -> None:
    mapped = torch.cat((GOOD, torch.full((5, 1, 8, 8), 0.1)), dim=1)
    with pytest.raises(InputError, match="sigma_255 is missing: model fake"):
        fake_restorer(sigma=True).restore(GOOD)
    with pytest.raises(InputError, match="fourth channel; give one"):
        fake_restorer(sigma=True).restore(mapped, sigma_255=20)
    with pytest.raises(InputError, match="takes no noise level"):
        fake_restorer().restore(GOOD, sigma_255=20)
    with pytest.raises(InputError, match="takes no noise level"):
        fake_restorer().stream(GOOD, sigma_255=20)  # at once, not at the first frame
    with pytest.raises(InputError, match=r"noise levels from 1 to 1.*0 to 0.1961"):
        fake_restorer(sigma=True).restore(torch.cat((GOOD, torch.ones(5, 1, 8, 8)), dim=1))


@pytest.mark.parametrize("cuts", ["on", [1.5], [-3], ["x"]])
def test_bad_cuts(cuts: object) -> None:
    restorer = fake_restorer()
    with pytest.raises(InputError, match="cuts"):
        restorer.restore(GOOD, cuts=cuts)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cuts"):
        restorer.stream(GOOD, cuts=cuts)  # type: ignore[arg-type]


def test_cuts_outside_the_clip_change_nothing() -> None:
    assert torch.equal(fake_restorer().restore(GOOD, cuts=[0, 5, 99]), fake_restorer().restore(GOOD, cuts=[]))


@pytest.mark.parametrize(
    ("numbers", "name"), [((0, 8, 8), "num_frames"), ((5, 0, 8), "height"), ((5, 8, 1.5), "width")]
)
def test_bad_sizes_of_a_plan(numbers: tuple, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} .* must be a whole number of at least 1"):
        fake_restorer().plan(*numbers)


def test_empty_stream() -> None:
    with pytest.raises(InputError, match="at least 1 frame"):
        list(fake_restorer().stream(iter(())))
    with pytest.raises(InputError, match=r"num_frames \(0\)"):
        fake_restorer().stream(GOOD, num_frames=0)


@settings(deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), min_px=st.sampled_from([8, 64]))
def test_padding_mirrors_with_the_edge_repeated(height: int, width: int, min_px: int) -> None:
    frames = torch.arange(float(height * width)).view(1, height, width)
    padded = pad_frames(frames, 8, min_px)
    up = [max(-(-n // 8) * 8, min_px) - n for n in (height, width)]
    expected = np.pad(frames.numpy(), ((0, 0), (0, up[0]), (0, up[1])), mode="symmetric")
    assert torch.equal(padded, torch.from_numpy(expected))
