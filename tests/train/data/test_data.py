import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vrt_train.data.dataset import Clip, DataConfig, Library, TrainingBatches, augment, batches
from vrt_train.data.degradations import add_noise
from vrt_train.data.film import cut_free_windows, write_windows
from vrt_train.data.photos import MovingPhotos
from vrt_train.training.flow_pretraining import backwarp


def test_noise_has_the_level_that_its_map_says():
    clip = torch.full((2, 4, 3, 64, 64), 0.5)
    noisy = add_noise(clip, 25.0, torch.Generator().manual_seed(0))
    assert noisy.shape == (2, 4, 4, 64, 64)
    assert torch.all(noisy[..., 3, :, :] == torch.tensor(25 / 255))
    noise = noisy[..., :3, :, :] - clip
    assert noise.std() * 255 == pytest.approx(25, rel=0.02)
    assert abs(noise.mean()) * 255 < 0.3
    assert noisy.max() > 0.8  # several sigma above: nothing was clipped


@pytest.mark.parametrize("seed", range(6))
def test_flow_of_a_moving_photo_leads_to_the_same_picture(photos, seed):
    clip, to_next, to_previous = MovingPhotos(photos).draw(np.random.default_rng(seed), 4, 64, layers=1)
    assert clip.shape == (4, 3, 64, 64)
    assert to_next.shape == to_previous.shape == (3, 2, 64, 64)
    for here, there, flow in ((clip[:-1], clip[1:], to_next), (clip[1:], clip[:-1], to_previous)):
        y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        inside = (x + flow[:, 0] >= 1) & (x + flow[:, 0] <= 62) & (y + flow[:, 1] >= 1) & (y + flow[:, 1] <= 62)
        error = (backwarp(there, flow) - here).abs().mean(dim=1)
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
    kept = (one[1] == two[1]).all(dim=1)
    assert 0.02 < kept.float().mean() < 0.98


@pytest.mark.parametrize("seed", range(8))
def test_augmentation_keeps_flow_and_frames_together(photos, seed):
    clip = Clip(*MovingPhotos(photos).draw(np.random.default_rng(5), 3, 64, layers=1), True)
    frames, to_next, to_previous, _ = augment(np.random.default_rng(seed), clip)
    for here, there, flow in ((frames[:-1], frames[1:], to_next), (frames[1:], frames[:-1], to_previous)):
        moved = (backwarp(there, flow) - here)[..., 12:-12, 12:-12].abs().mean()
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
    drawn_ahead = batches(one, 5, workers=0)
    assert torch.equal(next(drawn_ahead).input, one[5].input)
    assert torch.equal(next(drawn_ahead).input, one[6].input)


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
    for part, count in (("train", 2), ("held", 1)):
        assert len(Library(data_folder, part).photos._pyramids) == count


def test_film_windows_hold_no_cut_and_no_flat_frame(tmp_path):
    rng = np.random.default_rng(0)
    shots = [rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(2)]
    flat = np.full((24, 32, 3), 80, dtype=np.uint8)
    film = [shots[0]] * 7 + [shots[1]] * 9 + [flat] * 5 + [shots[0]] * 3
    windows = list(cut_free_windows(iter(film), 4, 1))
    assert len(windows) == 3  # frames 0-3; 7-10 and 12-15: each shot starts anew
    for window in windows:
        assert window.shape == (4, 24, 32, 3)
        assert (window == window[0]).all()
    assert write_windows(tmp_path / "film.u8", iter(windows)) == (3, 4, 24, 32, 3)
    assert np.array_equal(np.fromfile(tmp_path / "film.u8", np.uint8).reshape(3, 4, 24, 32, 3)[1], windows[1])


def test_half_resolution_film_is_averaged(data_folder):
    library = Library(data_folder, "train")
    assert all(library.draw_film(np.random.default_rng(i), 3, 32).frames.shape == (3, 3, 32, 32) for i in range(12))
    assert F.avg_pool2d(torch.ones(1, 1, 4, 4), 2).shape == (1, 1, 2, 2)
