import numpy as np
import pytest
import torch
from PIL import Image

from vrt_core.network.flow import backwarp
from vrt_train.data.config import TASK_NAMES, DataConfig
from vrt_train.data.dataset import TrainingBatches
from vrt_train.data.degradations import enlarge, round_to_8bit, shrink
from vrt_train.data.examples import TASKS, baseline
from vrt_train.data.library import Library
from vrt_train.data.photos import Exposure, MovingPhotos
from vrt_train.evaluation.baselines import motion_kernel, wiener


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_downscaling_is_antialiased_bicubic_as_in_pillow(photos, factor):
    photo = photos[0][:120, :168].astype(np.float32)
    planes = [Image.fromarray(photo[..., c], mode="F") for c in range(3)]
    size = 168 // factor, 120 // factor
    reference = np.stack([np.asarray(plane.resize(size, Image.Resampling.BICUBIC)) for plane in planes])
    ours = shrink(torch.from_numpy(photo).permute(2, 0, 1), factor).numpy()
    assert ours.shape == reference.shape
    inner = np.s_[:, 2:-2, 2:-2]  # at the borders Pillow renormalises the kernel, MATLAB mirrors the image
    assert np.abs(ours - reference)[inner].max() < 2e-3
    assert np.abs(ours - reference).max() < 8


def test_downscaling_has_the_known_weights_of_matlab():
    # imresize of a unit impulse by 1/4: taps of the cubic kernel, a = -0.5, stretched by 4 and normalised
    impulse = torch.zeros(1, 64, 64)
    impulse[0, :, 32] = 1
    row = shrink(impulse, 4)[0, 8]
    distances = np.abs((32 + 0.5) / 4 - 0.5 - np.arange(16))
    near, far = (
        1.5 * distances**3 - 2.5 * distances**2 + 1,
        -0.5 * distances**3 + 2.5 * distances**2 - 4 * distances + 2,
    )
    expected = np.where(distances < 1, near, np.where(distances < 2, far, 0)) / 4
    np.testing.assert_allclose(row.numpy(), expected, atol=1e-3)


def test_resizing_keeps_a_flat_frame_and_rejects_other_sizes():
    flat = torch.full((2, 3, 24, 32), 0.3)
    torch.testing.assert_close(shrink(flat, 4), torch.full((2, 3, 6, 8), 0.3))
    torch.testing.assert_close(enlarge(flat, 4), torch.full((2, 3, 96, 128), 0.3))
    with pytest.raises(ValueError, match="25x32"):
        shrink(torch.zeros(3, 25, 32), 4)


@pytest.mark.parametrize("subframes", [7, 11])
def test_blur_is_the_mean_of_the_subframes_around_the_sharp_frame(data_folder, subframes):
    library = Library(data_folder, "train")
    config = DataConfig(task="deblur", num_frames=3, crop_px=32, film_share=0.0, subframes=(subframes,))
    example = TASKS["deblur"](np.random.default_rng(4), library, config)
    assert example.input.shape == example.target.shape == (3, 3, 32, 32)
    assert torch.equal(example.input, round_to_8bit(example.input))

    exposure = Exposure(subframes=subframes, shutter=1.0, speed_px=(4.0, 4.1))
    clip, to_next, _ = library.photos.draw(np.random.default_rng(9), 3, 48, layers=1, exposure=exposure)
    assert clip.shape == (3 * subframes, 3, 48, 48)
    assert to_next.shape == (2, 2, 48, 48)
    middle = clip.unflatten(0, (3, subframes))[:, subframes // 2]
    still = library.photos.draw(
        np.random.default_rng(9),
        3,
        48,
        layers=1,
        exposure=Exposure(subframes=subframes, shutter=0.0, speed_px=(4, 4.1)),
    )[0].unflatten(0, (3, subframes))
    # with an exposure time of zero all subframes are equal
    assert (still - still[:, :1]).abs().max() < 1e-6
    assert (clip.unflatten(0, (3, subframes)) - middle[:, None]).abs().mean() > 1e-3


def test_subframes_lie_evenly_inside_the_shutter():
    times = Exposure(subframes=5, shutter=0.5).times(2, 1.0)
    np.testing.assert_allclose(times, [0.8, 0.9, 1.0, 1.1, 1.2, 1.8, 1.9, 2.0, 2.1, 2.2])


def test_wiener_filter_with_the_known_path_halves_the_error(photos):
    photo = torch.from_numpy(photos[0]).permute(2, 0, 1).float() / 255
    kernel = motion_kernel(np.stack((np.linspace(-3, 3, 9), np.linspace(1, -1, 9)), axis=1), 17)
    assert float(kernel.sum()) == pytest.approx(1)
    padded = torch.nn.functional.pad(photo[None], (8,) * 4, mode="reflect")
    blurred = torch.nn.functional.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)[0]
    inner = np.s_[:, 24:-24, 24:-24]
    before, after = (blurred - photo)[inner].abs().mean(), (wiener(blurred, kernel, 1e-2) - photo)[inner].abs().mean()
    assert after < 0.5 * before


@pytest.mark.parametrize("task", TASK_NAMES)
def test_examples_fit_their_task(data_folder, task):
    config = DataConfig(
        task=task, num_frames=4 if task == "interpolate" else 3, crop_px=32, film_share=0.0 if task == "deblur" else 0.5
    )
    library = Library(data_folder, "train")
    for step in range(4):
        batch = TrainingBatches(library, config, seed=3)[step]
        again = TrainingBatches(Library(data_folder, "train"), config, seed=3)[step]
        assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True))
        output = baseline(task, batch.input, config.scale)
        assert output.shape == batch.target.shape
        assert (output - batch.target).abs().mean() < 0.25
        size = batch.input.shape[-2:]
        pairs = 1 if task == "interpolate" else config.num_frames - 1
        assert batch.backward.shape == batch.forward.shape == (1, pairs, 2, *size)


def test_known_displacement_leads_from_one_middle_frame_to_the_other(photos):
    clip, backward, forward = MovingPhotos(photos).draw(np.random.default_rng(13), 7, 64, layers=1)
    displacement = backward[3] - forward[2]
    assert displacement.abs().max() > 1
    warped = [backwarp(clip[i][None], sign * displacement[None] / 2, "border") for i, sign in ((2, -1), (4, 1))]
    for frame, original in zip(warped, (clip[2], clip[4]), strict=True):
        inner = np.s_[..., 12:-12, 12:-12]
        assert (frame - clip[3])[inner].abs().mean() < 0.5 * (original - clip[3])[inner].abs().mean()
