"""Image files: 8-bit and 16-bit RGB arrays written and read back."""

from pathlib import Path

import numpy as np
import torch

from vrt_media.image_writer import encode_image
from vrt_media.images import read_image


def noise_16_bit(n: int, height: int = 32, width: int = 40) -> np.ndarray:
    """Return 16-bit noise, (H, W, 3), in which every low bit matters."""
    return np.random.default_rng(n).integers(0, 65536, (height, width, 3)).astype(np.uint16)


def write_image_file(path: Path, codes: np.ndarray, pix_fmt: str | None = None) -> Path:
    """Write (H, W, 3), uint8 or uint16."""
    is_deep = codes.dtype == np.uint16
    rgb = torch.from_numpy(codes.astype(np.int32)).movedim(2, 0) / (65535 if is_deep else 255)
    deep_format = "rgb48be" if path.suffix == ".png" else "rgb48le"
    path.write_bytes(encode_image(rgb, path.suffix, pix_fmt or (deep_format if is_deep else "rgb24")))
    return path


def read_image_file(path: Path) -> np.ndarray:
    """Read (H, W, 3), uint8 or uint16, with libav alone."""
    frame = read_image(path)
    if "48" not in frame.format.name:
        return frame.to_ndarray(format="rgb24")
    kind = ">u2" if frame.format.name.endswith("be") else "<u2"
    rows = np.frombuffer(frame.planes[0], kind).reshape(frame.height, -1)[:, : 3 * frame.width]
    return rows.reshape(frame.height, frame.width, 3).astype(np.uint16)
