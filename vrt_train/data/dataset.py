"""Training batches: half film, half moving photos, each a function of (seed, step) alone.

Because nothing else goes in, a resumed run sees the batches that the uninterrupted one would have seen, whatever the
number of workers.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..evaluation.metrics import psnr
from .examples import TASKS, Example, baseline
from .photos import STILLS, Exposure, MovingPhotos

FLAT_DEVIATION = 10 / 255  # a crop with less contrast teaches little and is drawn again


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a training batch looks like."""

    task: str = "denoise"
    """A key of ``TASKS``."""
    num_frames: int = 5
    """Frames that the network sees."""
    crop_px: int = 64
    """Height and width of what the network sees, a multiple of 8."""
    batch: int = 1
    """Clips of a batch."""
    film_share: float = 0.5
    """Share of clips from the film; the others are moving photos."""
    sigma_255: tuple[float, float] = (0.0, 50.0)
    """Denoising: least and most noise, in 8-bit steps."""
    camera_share: float = 0.0
    """Denoising: share of clips with the noise of a camera (``shot``, ``read``) in place of Gaussian noise. Of these,
    as of compressed ones, the network is told what ``estimate_sigma`` makes of them."""
    shot: tuple[float, float] = (1e-3, 2e-2)
    """Least and most variance of a camera's noise per unit of light."""
    read: tuple[float, float] = (1e-3, 1e-2)
    """Least and most standard deviation of a camera's noise in the dark."""
    compressed_share: float = 0.0
    """Share of inputs that go through a codec, as in a file; not for interpolation."""
    codecs: tuple[str, ...] = ("libx264", "libvpx-vp9")
    """Which; one of them by chance."""
    crf: tuple[int, int] = (16, 30)
    """Least and most compression."""
    scale: int = 4
    """SR: size of the target / size of the input."""
    reduction: str = "bicubic"
    """SR: how frames are made smaller: "bicubic" (antialiased), or "blur" (Gaussian of 1.6 px, every n-th pixel)."""
    subframes: tuple[int, ...] = (7, 9, 11)
    """Deblurring: how many moments are averaged, odd numbers; one of them by chance."""
    shutter: tuple[float, float] = (0.4, 1.0)
    """Deblurring: least and most time that the shutter is open, in frames."""
    speed_px: tuple[float, float] = (1.0, 16.0)
    """Deblurring: least and most motion between frames, in pixels."""

    def __post_init__(self) -> None:
        """Reject what no batch can be made of."""
        if self.task not in TASKS:
            raise ValueError(f"task ({self.task!r}) must be one of {', '.join(TASKS)}")
        if self.reduction not in ("bicubic", "blur"):
            raise ValueError(f'reduction ({self.reduction!r}) must be "bicubic" or "blur"')
        if self.crop_px < 8 or self.crop_px % 8:
            raise ValueError(f"crop_px ({self.crop_px} px) must be a multiple of 8")


class Clip(NamedTuple):
    """A clean clip and its flows where they are known."""

    frames: Tensor
    """(T, 3, H, W) in [0, 1]."""
    backward: Tensor
    """Flow of frame t to t+1, (T-1, 2, H, W), pixels; zeros if not known."""
    forward: Tensor
    """Flow of frame t+1 to t, likewise."""
    has_flow: bool


class Library:
    """The prepared data of one part: "train", or "held" for validation."""

    def __init__(self, folder: Path, part: str) -> None:
        """Open `data.json` and what it names; the film stays on disk."""
        self.folder = folder
        index = json.loads((folder / "data.json").read_text())
        film = index["film"][part]
        self.film = np.memmap(folder / film["file"], dtype=np.uint8, mode="r", shape=tuple(film["shape"]))
        names = [name for name, photo in index["photos"].items() if photo["held_out"] == (part == "held")]
        self.photos = MovingPhotos([np.load(folder / "photos" / f"{name}.npy") for name in sorted(names)])

    def draw_film(self, rng: np.random.Generator, num_frames: int, size_px: int, subframes: int = 1) -> Clip:
        """Cut a clip out of the film, now and then with every second frame or at half the resolution.

        Args:
            rng: Source of randomness.
            num_frames: T.
            size_px: H and W.
            subframes: Frames of the film that make one of the clip; more than 1 is for films of a high frame rate.

        Raises:
            ValueError: If the windows of the film are too short or too small.
        """
        count, length, H, W, _ = self.film.shape
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
        window = self.film[rng.integers(count)]
        cut = window[start : start + stride * (num_frames - 1) + 1 : stride, top : top + side, left : left + side]
        frames = torch.from_numpy(np.ascontiguousarray(cut)).permute(0, 3, 1, 2).float() / 255
        frames = F.avg_pool2d(frames, factor) if factor > 1 else frames.contiguous()
        none = frames.new_zeros(num_pairs, 2, size_px, size_px)
        return Clip(frames, none, none, False)

    def draw_photos(self, rng: np.random.Generator, num_frames: int, size_px: int, exposure: Exposure = STILLS) -> Clip:
        """Draw a moving photo."""
        return Clip(*self.photos.draw(rng, num_frames, size_px, exposure=exposure), True)

    def draw(
        self,
        rng: np.random.Generator,
        num_frames: int,
        size_px: int,
        film_share: float,
        exposure: Exposure = STILLS,
    ) -> Clip:
        """Draw a clip of either kind that is not flat, if a few tries find one, and vary it.

        Args:
            rng: Source of randomness.
            num_frames: T.
            size_px: H and W.
            film_share: Share of clips from the film.
            exposure: Of the moving photos; from the film, as many frames make one.
        """
        tries = 4
        while True:
            film = rng.random() < film_share
            clip = (
                self.draw_film(rng, num_frames, size_px, exposure.subframes)
                if film
                else self.draw_photos(rng, num_frames, size_px, exposure)
            )
            tries -= 1
            if clip.frames.std() >= FLAT_DEVIATION or not tries:
                return augment(rng, clip)


def augment(rng: np.random.Generator, clip: Clip) -> Clip:
    """Flip, transpose, reverse in time, permute colours, and now and then change gamma or drop colour."""
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


class TrainingBatches(Dataset[Example]):
    """Batch number ``step`` of a seed."""

    def __init__(self, library: Library, config: DataConfig, seed: int, *, rank: int = 0) -> None:
        """Draw from ``library`` what ``config`` asks for; processes that train together differ in ``rank``."""
        self.library, self.config = library, config
        self.key = [seed, rank] if rank else [seed]

    def __getitem__(self, step: int) -> Example:
        """Return the batch of a step: examples with a leading batch axis."""
        rng = np.random.default_rng([*self.key, step])
        make = TASKS[self.config.task]
        return stack([make(rng, self.library, self.config) for _ in range(self.config.batch)])


def stack(examples: list[Example]) -> Example:
    """Join examples on a leading axis."""
    return Example(*(torch.stack(parts) for parts in zip(*examples, strict=True)))


def batches(data: TrainingBatches, start: int, *, workers: int = 1) -> Iterator[Example]:
    """Yield the batches from step ``start`` on, without end, drawn ahead by worker processes."""
    steps = range(start, 2**31)
    return iter(DataLoader(data, batch_size=None, sampler=steps, num_workers=workers))


VALIDATION_SIGMA_255, NUM_VALIDATION = 30.0, 6
EASY_DB = 45.0  # what the trivial answer already does so well is left out: nothing moves in it


def validation_examples(library: Library, config: DataConfig) -> dict[str, list[Example]]:
    """Return the fixed examples of the validation curves, by kind: film (where the task has it) and photos."""
    made = {}
    size_px = max(config.crop_px, 96 // (config.scale if config.task == "sr" else 1))
    for kind, film_share, seed in (("film", 1.0, 7), ("photos", 0.0, 8)):
        if film_share > 0 and config.film_share == 0:
            continue
        fixed = replace(config, film_share=film_share, crop_px=size_px, sigma_255=(VALIDATION_SIGMA_255,) * 2)
        make, rng = TASKS[config.task], np.random.default_rng(seed)
        made[kind] = []
        while len(made[kind]) < NUM_VALIDATION:
            example = make(rng, library, fixed)
            if psnr(baseline(config.task, example.input, config.scale), example.target) < EASY_DB:
                made[kind].append(example)
    return made
