import json

import numpy as np
import pytest
import torch

NETWORK = {
    "upscale": 1,
    "img_size": [2, 32, 32],
    "window_size": [2, 4, 4],
    "depths": [2] * 8,
    "indep_reconsts": [],
    "embed_dims": [8] * 8,
    "num_heads": [2] * 8,
    "mul_attn_ratio": 0.5,
    "pa_frames": 2,
    "deformable_groups": 2,
    "nonblind_denoising": True,
    "drop_path_rate": 0.0,
    "flow_channels": [4, 4, 4, 4],
}


@pytest.fixture(autouse=True)
def one_thread():
    """Train with one OpenMP thread, as ``vrt train`` does: the last bits depend on the number of threads."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def photos():
    """Smooth random images with a few edges, uint8 (H, W, 3)."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(3):
        coarse = torch.from_numpy(rng.uniform(0, 1, (1, 3, 24, 28)).astype(np.float32))
        fine = torch.nn.functional.interpolate(coarse, size=(200, 240), mode="bicubic")[0].clamp(0, 1)
        images.append((fine.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    return images


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory, photos):
    """A folder as vrt_train.prepare writes it, with a film of panned photos; tests only read it."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "photos").mkdir()
    index = {"film": {}, "photos": {}}
    for i, photo in enumerate(photos):
        np.save(folder / "photos" / f"photo{i}.npy", photo)
        index["photos"][f"photo{i}"] = {"held_out": i == 2}
    for split in ("train", "val"):
        film = np.stack([np.stack([photo[t : t + 128, 2 * t : 2 * t + 160] for t in range(10)]) for photo in photos])
        film.tofile(folder / f"film_{split}.u8")
        index["film"][split] = {"file": f"film_{split}.u8", "shape": film.shape}
    (folder / "data.json").write_text(json.dumps(index))
    return folder
