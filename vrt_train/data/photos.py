"""Moving photos: clips that pan, zoom and rotate over still photos, with exact optical flow.

A clip has a background photo and often a second photo in front of it, masked by a random blob that moves with it. Each
layer moves by one affine map per frame, from which the flow is computed.
Convention: ``flow_t_to_s`` is on the grid of frame t and points into frame s, in pixels, channels (x, y); pixel centres
are integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN_PX = 3  # around a layer's samples: the cubic kernel reads two pixels on each side
MIN_SIDE_PX = 160  # shorter side of the smallest level of a photo's pyramid


def pyramid(photo: np.ndarray) -> list[np.ndarray]:
    """Return a photo, (H, W, 3) uint8, halved repeatedly by area averaging, down to `MIN_SIDE_PX` at the least."""
    levels = [photo]
    while min(levels[-1].shape[:2]) >= 2 * MIN_SIDE_PX:
        large = levels[-1]
        H, W = large.shape[0] // 2 * 2, large.shape[1] // 2 * 2
        blocks = large[:H, :W].reshape(H // 2, 2, W // 2, 2, 3)
        levels.append(np.round(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8))  # (H / 2, W / 2, 3)
    return levels


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Exposure of the frames by a moving camera: the subframes that are averaged to a blurred frame."""

    subframes: int = 1
    """Evenly spaced subframes of one frame, an odd number; the middle one is taken at the time of the frame."""
    shutter: float = 1.0
    """Exposure time / time between frames."""
    speed_px: tuple[float, float] = (0.1, 8.0)
    """Minimum and maximum motion between frames, in pixels."""

    def times(self, num_frames: int, phase: float) -> np.ndarray:
        """Return the times of the subframes, (T * subframes,), in frames; frame t is at t + phase."""
        offsets = ((np.arange(self.subframes) + 0.5) / self.subframes - 0.5) * self.shutter
        return (np.arange(num_frames)[:, None] + phase + offsets).ravel()


STILLS = Exposure()


def draw_motion(
    rng: np.random.Generator, num_frames: int, centre_px: float, damping: float, exposure: Exposure = STILLS
) -> np.ndarray:
    """Draw a smooth camera path: affine maps from pixels of each subframe to pixels of the layer at rest.

    Args:
        rng: Source of randomness.
        num_frames: T.
        centre_px: Centre of zoom and rotation, the same for x and y.
        damping: Factor on all motion, 0-1.
        exposure: Times of the subframes and speed of the motion.

    Returns:
        (T * subframes, 3, 3).
    """
    phase = None if exposure.subframes == 1 else float(rng.uniform(0.5, 1.5))
    times = None if phase is None else exposure.times(num_frames, phase)
    num_frames = num_frames if phase is None else num_frames + 2  # one more frame at each end, for the exposure
    min_px, max_px = exposure.speed_px
    speed = 0.0 if rng.random() < 0.15 else float(np.exp(rng.uniform(np.log(min_px), np.log(max_px)))) * damping
    direction = rng.uniform(0, 2 * np.pi)
    velocity = speed * np.array([np.cos(direction), np.sin(direction)])
    steps = velocity + speed * 0.15 * rng.standard_normal((num_frames, 2)).cumsum(axis=0)
    if rng.random() < 0.3:
        steps += damping * 0.4 * rng.standard_normal((num_frames, 2))  # camera shake
    turns = damping * bool(speed) * 0.006 * (rng.standard_normal() + 0.2 * rng.standard_normal(num_frames))
    zooms = damping * bool(speed) * 0.006 * (rng.standard_normal() + 0.2 * rng.standard_normal(num_frames))
    shift, angle, zoom = steps.cumsum(axis=0), turns.cumsum(), np.exp(zooms.cumsum())
    if times is not None:
        x, y, angle, zoom = (np.interp(times, np.arange(num_frames), path) for path in (*shift.T, angle, zoom))
        shift = np.stack((x, y), axis=1)
    matrices = np.zeros((len(shift), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = zoom * np.cos(angle)
    matrices[:, 0, 1] = -zoom * np.sin(angle)
    matrices[:, 1, 0] = zoom * np.sin(angle)
    matrices[:, :2, 2] = shift + centre_px - (matrices[:, :2, :2] @ np.full(2, centre_px))
    matrices[:, 2, 2] = 1
    return matrices


def move_points(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply affine maps to points.

    Args:
        matrices: (T, 3, 3).
        points: (..., 2) in (x, y) for all maps, or (T, H, W, 2) with one set per map.

    Returns:
        (T, ..., 2).
    """
    x, y = points[..., 0], points[..., 1]
    a, b, c = (matrices[:, :2, i, None, None] for i in range(3))  # (T, 2, 1, 1) each
    axis = 1 if points.ndim == 4 else 0
    moved = np.expand_dims(x, axis) * a + np.expand_dims(y, axis) * b + c  # (T, 2, ...)
    return np.moveaxis(moved, 1, -1)


def blob(rng: np.random.Generator, size: tuple[int, int]) -> Tensor:
    """Draw a random mask with soft or hard edges, (1, H, W) in [0, 1]."""
    cells = int(rng.integers(3, 7))
    noise = torch.from_numpy(rng.standard_normal((1, 1, cells, cells)).astype(np.float32))
    smooth = F.interpolate(noise, size=size, mode="bicubic", align_corners=True)[0]
    hardness = float(np.exp(rng.uniform(np.log(4), np.log(60))))
    return torch.sigmoid(hardness * (smooth - float(rng.uniform(-0.2, 0.5))))


class MovingPhotos:
    """Source of clips made of photos; each clip is a function of the random generator alone."""

    def __init__(self, photos: Sequence[np.ndarray]) -> None:
        """Build the pyramids of the photos.

        Args:
            photos: uint8 (H, W, 3) each; drawn with probability proportional to the square root of their area.

        Raises:
            ValueError: If there are none.
        """
        if not photos:
            raise ValueError("photos is empty; at least one is needed")
        self._pyramids = [pyramid(photo) for photo in photos]
        weights = np.array([np.sqrt(photo.shape[0] * photo.shape[1]) for photo in photos])
        self._weights = weights / weights.sum()

    def draw(
        self,
        rng: np.random.Generator,
        num_frames: int,
        size_px: int,
        *,
        layers: int | None = None,
        exposure: Exposure = STILLS,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw one clip.

        Args:
            rng: Source of randomness.
            num_frames: T.
            size_px: H and W.
            layers: 1 or 2; random if None.
            exposure: Subframes of each frame; by default one.

        Returns:
            The clip, (T * subframes, 3, H, W) in [0, 1]; the flow of frame t to t+1 and the flow of frame t+1 to t,
            between middle subframes, (T-1, 2, H, W) each.
        """
        return self.draw_with_motion(rng, num_frames, size_px, layers=layers, exposure=exposure)[:3]

    def draw_with_motion(
        self,
        rng: np.random.Generator,
        num_frames: int,
        size_px: int,
        *,
        layers: int | None = None,
        exposure: Exposure = STILLS,
    ) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
        """Draw as ``draw`` does; also return the affine maps of the background, (T * subframes, 3, 3)."""
        middle = slice(exposure.subframes // 2, None, exposure.subframes)
        clip, motion, _ = self._draw_layer(rng, num_frames, size_px, exposure, with_mask=False)
        flows = self._flows(motion[middle], size_px)
        if layers == 2 or (layers is None and rng.random() < 0.6):
            front, front_motion, mask = self._draw_layer(rng, num_frames, size_px, exposure, with_mask=True)
            clip = clip + mask * (front - clip)
            covered = mask[middle] > 0.5
            front_flows = self._flows(front_motion[middle], size_px)
            flows = (
                torch.where(covered[:-1], front_flows[0], flows[0]),
                torch.where(covered[1:], front_flows[1], flows[1]),
            )
        return clip.clamp(0, 1), *flows, motion

    def _draw_layer(
        self, rng: np.random.Generator, num_frames: int, size_px: int, exposure: Exposure, with_mask: bool
    ) -> tuple[Tensor, np.ndarray, Tensor]:
        """Draw one moving layer: subframes (T', 3, H, W), affine maps (T', 3, 3) and mask (T', 1, H, W)."""
        levels = self._pyramids[rng.choice(len(self._pyramids), p=self._weights)]
        level = levels[rng.integers(len(levels))]
        step = rng.uniform(0.7, 1.1)  # pixels of the level per pixel of the clip
        corners = np.array([[[0, 0], [size_px - 1, 0]], [[0, size_px - 1], [size_px - 1, size_px - 1]]], dtype=float)
        damping = 1.0
        while True:
            motion = draw_motion(rng, num_frames, (size_px - 1) / 2, damping, exposure)
            extent = step * move_points(motion, corners)
            low, high = extent.min(axis=(0, 1, 2)), extent.max(axis=(0, 1, 2))  # (x, y)
            slack = np.array(level.shape[1::-1]) - 1 - (high - low) - 2 * MARGIN_PX
            if (slack >= 0).all():
                break
            damping *= 0.5
            if damping < 1e-2:
                step *= 0.8  # the clip is larger than the photo: enlarge the photo
        offset = rng.uniform(0, 1, 2) * slack + MARGIN_PX - low  # of the layer at rest inside the level
        corner = np.floor(low + offset).astype(int) - MARGIN_PX
        corner = np.maximum(corner, 0)
        stop = np.ceil(high + offset).astype(int) + MARGIN_PX + 1
        patch = np.ascontiguousarray(level[corner[1] : stop[1], corner[0] : stop[0]])
        pixels = torch.from_numpy(patch).permute(2, 0, 1).float() / 255  # (3, h, w)
        if with_mask:
            pixels = torch.cat([pixels, blob(rng, (pixels.shape[1], pixels.shape[2]))])  # (4, h, w)
        points = step * move_points(motion, pixel_grid(size_px)) + offset - corner  # (T', H, W, 2)
        last = np.array([pixels.shape[2] - 1, pixels.shape[1] - 1])
        positions = torch.from_numpy((points * 2 / last - 1).astype(np.float32))
        source = pixels.expand(len(motion), -1, -1, -1)  # (T', C, h, w)
        layer = F.grid_sample(source, positions, mode="bicubic", padding_mode="border", align_corners=True)
        return layer[:, :3], motion, layer[:, 3:].clamp(0, 1)

    @staticmethod
    def _flows(motion: np.ndarray, size_px: int) -> tuple[Tensor, Tensor]:
        """Return the flows t -> t+1 and t+1 -> t, (T-1, 2, H, W) each, of one layer."""
        points, inverse = pixel_grid(size_px), np.linalg.inv(motion)
        rest = move_points(motion, points)
        to_next = move_points(inverse[1:], rest[:-1]) - points
        to_previous = move_points(inverse[:-1], rest[1:]) - points
        first, second = (torch.from_numpy(np.moveaxis(f, 3, 1).astype(np.float32)) for f in (to_next, to_previous))
        return first.contiguous(), second.contiguous()


def pixel_grid(size_px: int) -> np.ndarray:
    """Return the pixel positions of a square frame, (H, W, 2) in (x, y)."""
    return np.stack(np.meshgrid(np.arange(size_px), np.arange(size_px)), axis=-1).astype(float)
