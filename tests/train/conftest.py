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
    torch.set_num_threads(1)


@pytest.fixture
def photos():
    """Smooth random pictures with a few edges, uint8 (H, W, 3)."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(3):
        coarse = torch.from_numpy(rng.uniform(0, 1, (1, 3, 24, 28)).astype(np.float32))
        fine = torch.nn.functional.interpolate(coarse, size=(200, 240), mode="bicubic")[0].clamp(0, 1)
        made.append((fine.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    return made


@pytest.fixture
def data_folder(tmp_path, photos):
    """A folder as vrt_train.prepare leaves it, with a film of drifting pictures."""
    folder = tmp_path / "data"
    (folder / "photos").mkdir(parents=True)
    index = {"film": {}, "photos": {}}
    for i, photo in enumerate(photos):
        np.save(folder / "photos" / f"photo{i}.npy", photo)
        index["photos"][f"photo{i}"] = {"held_out": i == 2}
    for part in ("train", "held"):
        film = np.stack([np.stack([photo[t : t + 128, 2 * t : 2 * t + 160] for t in range(10)]) for photo in photos])
        film.tofile(folder / f"film_{part}.u8")
        index["film"][part] = {"file": f"film_{part}.u8", "shape": film.shape}
    (folder / "data.json").write_text(json.dumps(index))
    return folder
