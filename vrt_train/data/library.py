"""Library of clean clips: random crops of a film and moving photos, and their augmentation."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .photos import STILLS, Exposure, MovingPhotos

MIN_CONTRAST = 10 / 255  # standard deviation of a clip; flatter clips teach little and are drawn again
MAX_DRAWS = 4


class Clip(NamedTuple):
    """A clean clip and its optical flow, where it is known."""

    frames: Tensor
    """(T, 3, H, W) in [0, 1]."""
    backward: Tensor
    """Flow of frame t to t+1, (T-1, 2, H, W), pixels; zeros if unknown."""
    forward: Tensor
    """Flow of frame t+1 to t, likewise."""
    has_flow: bool


class Library:
    """The prepared data of one split: "train" or "val"."""

    def __init__(self, folder: Path, split: str) -> None:
        """Read `data.json` and the photos of a split; the film is mapped into memory.

        Args:
            folder: Folder written by ``vrt_train.prepare``.
            split: "train" or "val".
        """
        self.folder = folder
        index = json.loads((folder / "data.json").read_text())
        film = index["film"][split]
        self.film = np.memmap(folder / film["file"], dtype=np.uint8, mode="r", shape=tuple(film["shape"]))
        names = [name for name, photo in index["photos"].items() if photo["held_out"] == (split == "val")]
        self.photos = MovingPhotos([np.load(folder / "photos" / f"{name}.npy") for name in sorted(names)])

    def draw_film(self, rng: np.random.Generator, num_frames: int, size_px: int, subframes: int = 1) -> Clip:
        """Draw a random crop of the film, sometimes with every second frame or at half the resolution.

        Args:
            rng: Source of randomness.
            num_frames: T.
            size_px: H and W.
            subframes: Frames of the film in one frame of the clip; above 1 for films of a high frame rate.

        Returns:
            A clip of T * subframes frames; its T-1 flows are zeros.

        Raises:
            ValueError: If the windows of the film are too short or too small.
        """
        num_windows, length, H, W, _ = self.film.shape
        num_pairs, num_frames = num_frames - 1, num_frames * subframes
        if num_frames > length or size_px > min(H, W):
            raise ValueError(
                f"the film has windows of {length} frames of {H}x{W} px, but {num_frames} frames of {size_px} px are "
                "asked for: prepare the data with longer windows or larger frames"
            )
        stride = int(rng.integers(1, 3)) if subframes == 1 and 2 * num_frames - 1 <= length else 1
        factor = 2 if rng.random() < 0.25 and 2 * size_px <= H else 1
        side = size_px * factor
        start = int(rng.integers(length - stride * (num_frames - 1)))
        top, left = int(rng.integers(H - side + 1)), int(rng.integers(W - side + 1))
        window = self.film[rng.integers(num_windows)]
        crop = window[start : start + stride * (num_frames - 1) + 1 : stride, top : top + side, left : left + side]
        frames = torch.from_numpy(np.ascontiguousarray(crop)).permute(0, 3, 1, 2).float() / 255  # (T, 3, side, side)
        frames = F.avg_pool2d(frames, factor) if factor > 1 else frames.contiguous()  # (T, 3, H, W)
        zero_flow = frames.new_zeros(num_pairs, 2, size_px, size_px)
        return Clip(frames, zero_flow, zero_flow, False)

    def draw_photos(self, rng: np.random.Generator, num_frames: int, size_px: int, exposure: Exposure = STILLS) -> Clip:
        """Draw a moving photo; arguments as for ``draw``."""
        return Clip(*self.photos.draw(rng, num_frames, size_px, exposure=exposure), True)

    def draw(
        self,
        rng: np.random.Generator,
        num_frames: int,
        size_px: int,
        film_share: float,
        exposure: Exposure = STILLS,
    ) -> Clip:
        """Draw a clip of the film or a moving photo, and augment it. Flat clips are drawn again a few times.

        Args:
            rng: Source of randomness.
            num_frames: T.
            size_px: H and W.
            film_share: Share of clips from the film, 0-1.
            exposure: Exposure of the moving photos; a clip of the film has as many subframes.

        Returns:
            A clip of T * subframes frames.
        """

        def draw_once() -> Clip:
            if rng.random() < film_share:
                return self.draw_film(rng, num_frames, size_px, exposure.subframes)
            return self.draw_photos(rng, num_frames, size_px, exposure)

        clip, num_draws = draw_once(), 1
        while clip.frames.std() < MIN_CONTRAST and num_draws < MAX_DRAWS:
            clip, num_draws = draw_once(), num_draws + 1
        return augment(rng, clip)


def augment(rng: np.random.Generator, clip: Clip) -> Clip:
    """Flip, transpose, reverse in time and permute channels; rarely also change gamma or remove colour."""
    frames, backward, forward, has_flow = clip
    if rng.random() < 0.5:
        frames, backward, forward = (x.flip(-1) for x in (frames, backward, forward))
        backward, forward = (x * x.new_tensor([-1, 1]).view(2, 1, 1) for x in (backward, forward))
    if rng.random() < 0.5:
        frames, backward, forward = (x.flip(-2) for x in (frames, backward, forward))
        backward, forward = (x * x.new_tensor([1, -1]).view(2, 1, 1) for x in (backward, forward))
    if rng.random() < 0.5:
        frames, backward, forward = (x.transpose(-1, -2) for x in (frames, backward, forward))
        backward, forward = backward.flip(1), forward.flip(1)
    if rng.random() < 0.5:
        frames, backward, forward = frames.flip(0), forward.flip(0), backward.flip(0)
    frames = frames[:, torch.from_numpy(rng.permutation(3))]
    if rng.random() < 0.3:
        frames = frames ** float(np.exp(rng.uniform(-0.4, 0.4)))
    if rng.random() < 0.05:
        frames = frames.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    return Clip(frames.contiguous(), backward.contiguous(), forward.contiguous(), has_flow)
