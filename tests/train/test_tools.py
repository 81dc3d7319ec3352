import json

import av
import numpy as np
import pytest
import torch
from PIL import Image

from vrt_train.data.config import DataConfig
from vrt_train.data.dataset import TrainingBatches
from vrt_train.data.library import Library
from vrt_train.data.preparation import prepare_own
from vrt_train.evaluation.baselines import lanczos, minterpolate
from vrt_train.evaluation.flicker import flicker_255
from vrt_train.plot import plot


@pytest.fixture
def own_files(tmp_path, photos):
    """A video that pans over a photo, and two photos."""
    video = tmp_path / "own.mkv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv444p"
        for t in range(40):
            frame = np.ascontiguousarray(photos[0][t : t + 96, t : t + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    for i in (1, 2):
        Image.fromarray(photos[i]).save(tmp_path / f"{i}.png")
    return video, [tmp_path / "1.png", tmp_path / "2.png"]


def test_own_videos_and_photos_become_training_data(own_files, tmp_path):
    video, photos = own_files
    out = tmp_path / "own"
    prepare_own(out, [video], photos, size_px=(48, 80), window_frames=4)
    index = json.loads((out / "data.json").read_text())
    assert index["film"]["train"]["shape"] == [9, 4, 48, 80, 3]  # 36 frames
    assert index["film"]["val"]["shape"][0] == 1
    config = DataConfig(task="sr", scale=2, num_frames=2, crop_px=16)
    assert TrainingBatches(Library(out, "train"), config, seed=0)[0].target.shape == (1, 2, 3, 32, 32)
    with pytest.raises(ValueError, match="1 video and 2 photos"):
        prepare_own(out, [video], photos[:1], size_px=(48, 80), window_frames=4)
    with pytest.raises(ValueError, match="50 frames without a cut"):
        prepare_own(out, [video], photos, size_px=(48, 80), window_frames=50)


def test_film_that_is_too_short_is_named(data_folder):
    library = Library(data_folder, "train")
    with pytest.raises(ValueError, match=r"windows of 10 frames .* 11 frames"):
        library.draw_film(np.random.default_rng(0), 11, 32)
    clip = library.draw_film(np.random.default_rng(0), 3, 32, subframes=3)
    assert clip.frames.shape == (9, 3, 32, 32)
    assert clip.backward.shape == (2, 2, 32, 32)


def test_curves_of_a_run_are_plotted(tmp_path):
    (tmp_path / "train.csv").write_text("step,learning_rate,loss\n20,1e-3,0.3\n40,5e-4,0.2\n60,1e-4,0.1\n")
    (tmp_path / "validation.csv").write_text("step,film_psnr,photos_psnr\n20,30,\n60,31,\n")
    with Image.open(plot(tmp_path)) as image:
        assert image.size == (900, 900)
        for panel, colour in enumerate([(0x1F, 0x6F, 0xB4)] * 3):
            curve = np.asarray(image)[300 * panel + 60 : 300 * (panel + 1) - 50, 60:840]
            assert (curve == colour).all(axis=-1).any()


def test_minterpolate_is_closer_than_the_mean_of_both_frames(photos):
    clip = np.stack([photos[0][8 : 8 + 64, 2 * t : 2 * t + 96] for t in range(5)])
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255
    interpolated = minterpolate(frames[::2])
    assert interpolated.shape == (2, 3, 64, 96)
    inner = np.s_[..., 16:-16, 16:-16]
    mean = (frames[:-1:2] + frames[2::2]) / 2
    assert (interpolated - frames[1::2])[inner].square().mean() < (mean - frames[1::2])[inner].square().mean()


def test_lanczos_keeps_a_flat_frame():
    assert torch.equal(lanczos(torch.full((1, 3, 8, 8), 0.2), 4), torch.full((1, 3, 32, 32), 0.2))


def test_flicker_follows_the_motion():
    row = torch.arange(40).float().div(40).expand(3, 24, 40)
    clip = torch.stack([row[..., 0:32], row[..., 2:34]])  # moves left by 2 px
    to_next = torch.tensor([-2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 24, 32)
    assert flicker_255(clip, to_next) == pytest.approx(0, abs=1e-3)
    assert flicker_255(clip, torch.zeros_like(to_next)) == pytest.approx(255 * 2 / 40, rel=1e-3)
