import numpy as np
import pytest
import torch

from vrt_core.network.flow import backwarp
from vrt_train.data.config import DataConfig
from vrt_train.data.dataset import TrainingBatches, batches
from vrt_train.data.degradations import add_noise
from vrt_train.data.film import cut_free_windows, write_windows
from vrt_train.data.library import Clip, Library, augment
from vrt_train.data.photos import MovingPhotos


def test_noise_has_the_level_of_its_map():
    clip = torch.full((2, 4, 3, 64, 64), 0.5)
    noisy = add_noise(clip, 25.0, torch.Generator().manual_seed(0))
    assert noisy.shape == (2, 4, 4, 64, 64)
    assert torch.all(noisy[..., 3, :, :] == torch.tensor(25 / 255))
    noise = noisy[..., :3, :, :] - clip
    assert noise.std() * 255 == pytest.approx(25, rel=0.02)
    assert abs(noise.mean()) * 255 < 0.3
    assert noisy.max() > 0.8  # several sigma above: nothing was clipped


@pytest.mark.parametrize("seed", range(6))
def test_flow_of_a_moving_photo_leads_to_the_same_point(photos, seed):
    clip, to_next, to_previous = MovingPhotos(photos).draw(np.random.default_rng(seed), 4, 64, layers=1)
    assert clip.shape == (4, 3, 64, 64)
    assert to_next.shape == to_previous.shape == (3, 2, 64, 64)
    for here, there, flow in ((clip[:-1], clip[1:], to_next), (clip[1:], clip[:-1], to_previous)):
        y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        inside = (x + flow[:, 0] >= 1) & (x + flow[:, 0] <= 62) & (y + flow[:, 1] >= 1) & (y + flow[:, 1] <= 62)
        error = (backwarp(there, flow, "border") - here).abs().mean(dim=1)
        assert error[inside].mean() < 0.01  # bilinear against cubic sampling


def test_moving_photos_move_by_different_amounts(photos):
    source = MovingPhotos(photos)
    lengths = [source.draw(np.random.default_rng(i), 2, 32)[1].norm(dim=1).mean() for i in range(60)]
    assert min(lengths) == 0
    assert max(lengths) > 3
    assert sum(0 < length < 1 for length in lengths) > 10


def test_front_layer_hides_the_background_and_brings_its_own_flow(photos):
    one = MovingPhotos(photos).draw(np.random.default_rng(3), 3, 64, layers=1)
    two = MovingPhotos(photos).draw(np.random.default_rng(3), 3, 64, layers=2)
    unchanged = (one[1] == two[1]).all(dim=1)
    assert 0.02 < unchanged.float().mean() < 0.98


@pytest.mark.parametrize("seed", range(8))
def test_augmentation_keeps_flow_and_frames_together(photos, seed):
    clip = Clip(*MovingPhotos(photos).draw(np.random.default_rng(5), 3, 64, layers=1), True)
    frames, to_next, to_previous, _ = augment(np.random.default_rng(seed), clip)
    for here, there, flow in ((frames[:-1], frames[1:], to_next), (frames[1:], frames[:-1], to_previous)):
        moved = (backwarp(there, flow, "border") - here)[..., 12:-12, 12:-12].abs().mean()
        still = (there - here)[..., 12:-12, 12:-12].abs().mean()
        assert moved < 0.5 * still


def test_batches_are_a_function_of_seed_and_step(data_folder):
    config = DataConfig(num_frames=3, crop_px=32, batch=2)
    one = TrainingBatches(Library(data_folder, "train"), config, seed=1)
    two = TrainingBatches(Library(data_folder, "train"), config, seed=1)
    two[0]  # drawing another batch first changes nothing
    for a, b in zip(one[5], two[5], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one[5].target, one[6].target)
    assert not torch.equal(one[5].target, TrainingBatches(one.library, config, seed=2)[5].target)
    loader = batches(one, 5, workers=0)
    assert torch.equal(next(loader).input, one[5].input)
    assert torch.equal(next(loader).input, one[6].input)


def test_batches_hold_film_and_photos_and_only_photos_have_flow(data_folder):
    data = TrainingBatches(Library(data_folder, "train"), DataConfig(num_frames=3, crop_px=32, batch=2), seed=0)
    kinds = torch.cat([data[i].has_flow for i in range(20)])
    assert 8 < int(kinds.sum()) < 32
    batch = data[0]
    assert batch.input.shape == (2, 3, 4, 32, 32)
    assert batch.target.shape == (2, 3, 3, 32, 32)
    assert batch.backward.shape == (2, 2, 2, 32, 32)
    assert not batch.backward[~batch.has_flow].any()


def test_held_out_photos_are_not_trained_on(data_folder, photos):
    for split, count in (("train", 2), ("val", 1)):
        assert len(Library(data_folder, split).photos._pyramids) == count


def test_film_windows_hold_no_cut_and_no_flat_frame(tmp_path):
    rng = np.random.default_rng(0)
    cells = [rng.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(2)]
    shots = [shot.repeat(8, axis=0).repeat(8, axis=1) for shot in cells]  # (48, 64, 3)
    flat = np.full((48, 64, 3), 80, dtype=np.uint8)
    film = [shots[0]] * 7 + [shots[1]] * 9 + [flat] * 5 + [shots[0]] * 3
    windows = list(cut_free_windows(iter(film), 4, 1))
    assert len(windows) == 3  # frames 0-3; 7-10 and 12-15: each shot starts anew
    for window in windows:
        assert window.shape == (4, 48, 64, 3)
        assert (window == window[0]).all()
    assert write_windows(tmp_path / "film.u8", iter(windows)) == (3, 4, 48, 64, 3)
    assert np.array_equal(np.fromfile(tmp_path / "film.u8", np.uint8).reshape(3, 4, 48, 64, 3)[1], windows[1])


def test_half_resolution_film_is_averaged(data_folder, monkeypatch):
    film = np.zeros((1, 10, 128, 160, 3), dtype=np.uint8)
    film[..., 0] = 255 * (np.indices((128, 160)).sum(axis=0) % 2)  # a checkerboard, whose 2x2 means are all 1/2
    film[..., 1] = np.arange(160)
    library = Library(data_folder, "train")
    monkeypatch.setattr(library, "film", film)
    resolutions = set()
    for seed in range(24):
        board, ramp = library.draw_film(np.random.default_rng(seed), 3, 32).frames[:, :2].unbind(dim=1)
        assert board.shape == (3, 32, 32)
        factor = 1 if set(board.unique().tolist()) == {0.0, 1.0} else 2
        assert factor == 1 or torch.equal(board, torch.full_like(board, 0.5))
        torch.testing.assert_close(ramp.diff(dim=-1) * 255, torch.full((3, 32, 31), float(factor)), atol=1e-3, rtol=0)
        resolutions.add(factor)
    assert resolutions == {1, 2}
