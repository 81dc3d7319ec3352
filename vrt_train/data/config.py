"""Configuration of the training data: the task, the size of a batch and the degradations."""

from dataclasses import dataclass

TASK_NAMES = ("denoise", "sr", "deblur", "interpolate")
REDUCTIONS = ("bicubic", "blur")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Contents of a training batch. Ranges are (minimum, maximum)."""

    task: str = "denoise"
    """One of ``TASK_NAMES``."""
    num_frames: int = 5
    """Input frames of the network."""
    crop_px: int = 64
    """Height and width of the input frames, a multiple of 8."""
    batch: int = 1
    """Clips in a batch."""
    film_share: float = 0.5
    """Share of clips from the film, 0-1; the others are moving photos."""
    sigma_255: tuple[float, float] = (0.0, 50.0)
    """Denoising: standard deviation of Gaussian noise, in 8-bit steps."""
    prior_step_px: int = 0
    """Denoising: spacing of the blocks of the network's frequency prior, in pixels; 0 if it has none. ``TrainConfig``
    sets it to that of the network. The prior is computed on more frames and pixels than the network is given."""
    clean_share: float = 0.0
    """Denoising: share of clips that no noise is added to, 0-1; they may still be compressed."""
    camera_share: float = 0.0
    """Denoising: share of clips with camera noise (``shot``, ``read``) instead of Gaussian noise, 0-1. For these clips,
    as for compressed ones, the noise level given to the network is the result of ``estimate_sigma``."""
    shot: tuple[float, float] = (1e-3, 2e-2)
    """Variance of camera noise per unit of light."""
    read: tuple[float, float] = (1e-3, 1e-2)
    """Standard deviation of camera noise in the dark."""
    grain_share: float = 0.0
    """Denoising: share of the clips with camera noise that have film grain instead, 0-1."""
    grain_255: tuple[float, float] = (2.0, 15.0)
    """Standard deviation of film grain in midtones, in 8-bit steps."""
    grain_px: tuple[float, float] = (0.3, 1.0)
    """Sigma of the Gaussian that blurs film grain, in pixels."""
    compressed_share: float = 0.0
    """Share of inputs that are encoded and decoded with a codec, 0-1; not for interpolation."""
    codecs: tuple[str, ...] = ("libx264", "libvpx-vp9")
    """Encoders of compressed inputs, chosen at random: "libx264", "libvpx-vp9", "mpeg2video", "mpeg4"."""
    crf: tuple[int, int] = (16, 30)
    """Constant rate factor of compressed inputs; encoders without one get the quantizer of about the same loss."""
    scale: int = 4
    """SR: size of the target / size of the input."""
    reduction: str = "bicubic"
    """SR: how inputs are downscaled: "bicubic" (antialiased), or "blur" (Gaussian of 1.6 px, every n-th pixel)."""
    subframes: tuple[int, ...] = (7, 9, 11)
    """Deblurring: numbers of subframes that are averaged, all odd, chosen at random."""
    shutter: tuple[float, float] = (0.4, 1.0)
    """Deblurring: exposure time / time between frames."""
    speed_px: tuple[float, float] = (1.0, 16.0)
    """Deblurring: motion between frames, in pixels."""

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            ValueError: If a field has an impossible value.
        """
        if self.task not in TASK_NAMES:
            raise ValueError(f"task ({self.task!r}) must be one of {', '.join(TASK_NAMES)}")
        if self.reduction not in REDUCTIONS:
            raise ValueError(f'reduction ({self.reduction!r}) must be "bicubic" or "blur"')
        if self.crop_px < 8 or self.crop_px % 8:
            raise ValueError(f"crop_px ({self.crop_px} px) must be a multiple of 8")
