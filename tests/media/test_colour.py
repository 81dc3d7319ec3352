"""Conversion to R'G'B' and back: known colours, depths and ranges, chroma siting, layouts."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from tests.helpers.video_files import picture, planes_of
from vrt_media.chroma import downsample_chroma, upsample_chroma
from vrt_media.colour import (
    BOTTOM,
    BOTTOM_LEFT,
    BT601,
    BT709,
    BT2020,
    CENTRE,
    LEFT,
    RGB,
    TOP,
    TOP_LEFT,
    Colour,
    colour_for,
    colour_of,
    default_matrix,
)
from vrt_media.planes import read_rgb, write_rgb

VIDEO = Colour(matrix=BT709, full_range=False)
FULL_GREY = Colour(matrix=BT709, full_range=True)


def random_frame(pix_fmt: str, height: int = 24, width: int = 32, **tags: int) -> av.VideoFrame:
    """Return a frame of random codes, with one component per plane."""
    frame = av.VideoFrame(width, height, pix_fmt)
    bits = frame.format.components[0].bits
    rng = np.random.default_rng(0)
    for plane in frame.planes:
        kind = np.uint8 if bits <= 8 else np.uint16
        shape = (plane.buffer_size // plane.line_size, plane.line_size // np.dtype(kind).itemsize)
        plane.update(rng.integers(0, 2**bits, shape).astype(kind).tobytes())
    for name, value in tags.items():
        setattr(frame, name, value)
    return frame


@pytest.mark.parametrize(
    ("matrix", "rgb", "codes"),
    [  # 8-bit limited range, as the standards' colour bars have them
        (BT709, (1, 1, 1), (235, 128, 128)),
        (BT709, (0, 0, 0), (16, 128, 128)),
        (BT709, (1, 0, 0), (63, 102, 240)),
        (BT709, (0, 1, 0), (173, 42, 26)),
        (BT709, (0, 0, 1), (32, 240, 118)),
        (BT601, (1, 0, 0), (81, 90, 240)),
        (BT601, (0, 1, 0), (145, 54, 34)),
        (BT601, (0, 0, 1), (41, 240, 110)),
        (BT2020, (1, 0, 0), (74, 97, 240)),
        (BT2020, (0, 1, 0), (164, 47, 25)),
    ],
)
def test_known_colours(matrix: int, rgb: tuple[int, int, int], codes: tuple[int, int, int]) -> None:
    colour = replace(VIDEO, matrix=matrix)
    clip = torch.tensor(rgb, dtype=torch.float32)[:, None, None].expand(3, 4, 6)
    frame = write_rgb(clip, "yuv444p", colour)
    assert [int(p[0, 0]) for p in planes_of(frame)] == list(codes)
    assert (frame.colorspace, frame.color_range) == (matrix, 1)
    assert (read_rgb(frame, colour_of(frame)) - clip).abs().max() < 0.005  # half a code, through the matrix


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le", "yuv444p12le", "yuv444p16le", "gray", "gray10le"])
@pytest.mark.parametrize("full_range", [False, True])
def test_all_codes_survive(pix_fmt: str, full_range: bool) -> None:
    assert error_of_round_trip(random_frame(pix_fmt, colorspace=BT709, color_range=2 if full_range else 1)) == 0


@pytest.mark.parametrize("siting", [0, LEFT, CENTRE, TOP_LEFT, TOP, BOTTOM_LEFT, BOTTOM])
@pytest.mark.parametrize("size", [(24, 32), (29, 37), (1, 1), (2, 3), (98, 203)])
@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p", "yuv411p", "yuv410p", "yuv440p", "yuv420p10le", "yuv420p16le"]
)
def test_all_codes_of_subsampled_chroma_survive(pix_fmt: str, size: tuple[int, int], siting: int) -> None:
    """Noise of full range, up to the borders."""
    assert error_of_round_trip(random_frame(pix_fmt, *size, colorspace=BT709, chroma_location=siting)) == 0


def error_of_round_trip(frame: av.VideoFrame) -> int:
    """Return the largest difference of a code from that after conversion to R'G'B' and back."""
    back = write_rgb(read_rgb(frame, colour_of(frame)), frame.format.name, colour_of(frame))
    return max(int(np.abs(a - b).max()) for a, b in zip(planes_of(frame), planes_of(back), strict=True))


def test_downsampled_chroma_is_the_nearest_of_all() -> None:
    """No change of a chroma sample brings the upsampled plane nearer to the one that was downsampled."""
    size = (64, 96)
    plane = torch.from_numpy(np.random.default_rng(0).normal(size=size)).float()
    small = downsample_chroma(plane, "yuv420p", LEFT)

    def error(chroma: torch.Tensor) -> float:
        return float((upsample_chroma(chroma, size, "yuv420p", LEFT) - plane).square().mean())

    for row, column in ((16, 24), (17, 24), (12, 30)):
        for change in (-0.02, 0.02):
            other = small.clone()
            other[row, column] += change
            assert error(small) < error(other)


@pytest.mark.parametrize("pix_fmt", ["rgb24", "rgb48le", "gbrp", "gbrp10le", "gbrp16le"])
def test_rgb_survives(pix_fmt: str) -> None:
    frame = random_frame(pix_fmt)
    rgb = read_rgb(frame, colour_of(frame))
    assert 0 <= rgb.min() < 0.1
    assert 0.9 < rgb.max() <= 1
    back = write_rgb(rgb, pix_fmt, colour_of(frame))
    assert [p.tolist() for p in planes_of(frame)] == [p.tolist() for p in planes_of(back)]


def test_rgb_planes_are_not_swapped() -> None:
    packed = np.zeros((4, 6, 3), np.uint8)
    packed[..., 0], packed[..., 2] = 255, 51
    for pix_fmt in ("rgb24", "gbrp", "bgr24", "rgba", "bgr0", "argb"):
        frame = av.VideoFrame.from_ndarray(packed, format="rgb24").reformat(format=pix_fmt)
        rgb = read_rgb(frame, colour_of(frame))
        assert rgb[:, 1, 1].tolist() == pytest.approx([1, 0, 0.2], abs=1e-6), pix_fmt


@pytest.mark.parametrize(
    ("siting", "down", "across"),
    [(0, 0.5, 0), (LEFT, 0.5, 0), (CENTRE, 0.5, 0.5), (TOP_LEFT, 0, 0), (BOTTOM_LEFT, 1, 0)],
)
def test_chroma_sits_where_the_tag_says(siting: int, down: float, across: float) -> None:
    """A chroma ramp of one code per luma sample keeps its slope and position when it is upsampled."""
    frame = av.VideoFrame(32, 24, "yuv420p")
    y, x = np.mgrid[:12, :16]
    for plane, samples in zip(
        frame.planes, (np.full((24, 32), 126), 90 + 2 * x + across, 90 + 2 * y + down), strict=True
    ):
        rows = np.zeros((plane.buffer_size // plane.line_size, plane.line_size), np.uint8)
        rows[: samples.shape[0], : samples.shape[1]] = np.floor(samples)
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range, frame.chroma_location = BT709, 1, siting
    rgb = read_rgb(frame, colour_of(frame)).double()
    luma = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]
    cb = (rgb[2] - luma) / (2 - 2 * 0.0722) * 224 + 128
    cr = (rgb[0] - luma) / (2 - 2 * 0.2126) * 224 + 128
    inner = slice(6, 18)
    assert cb[12, inner].numpy() == pytest.approx(90 + np.arange(6, 18) - (across % 1), abs=1e-3)
    assert cr[inner, 12].numpy() == pytest.approx(90 + np.arange(6, 18) - (down % 1), abs=1e-3)
    back = write_rgb(rgb.float(), "yuv420p", colour_of(frame))
    assert back.chroma_location == siting
    for a, b in zip(planes_of(frame), planes_of(back), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(
    ("pix_fmt", "size"),
    [
        (pix_fmt, size)
        for pix_fmt in ("yuv420p", "yuv422p", "yuv411p", "yuv410p", "yuv440p", "nv12", "yuva420p")
        for size in ((29, 37), (1, 1), (2, 3), (24, 32))
    ]
    + [("yuyv422", (24, 32)), ("uyvy422", (23, 32))],  # which have no odd widths
)
def test_odd_sizes_and_layouts(pix_fmt: str, size: tuple[int, int]) -> None:
    """A uniform colour stays uniform up to the last column and row."""
    clip = torch.tensor([0.7, 0.4, 0.2])[:, None, None].expand(3, *size)
    frame = write_rgb(clip, pix_fmt, replace(VIDEO, siting=LEFT))
    assert frame.format.name == pix_fmt
    back = read_rgb(frame, colour_of(frame))
    assert back.shape == (3, *size)
    assert (back - clip).abs().max() < 0.012


def test_agrees_with_libav() -> None:
    """The difference is within libswscale's error, about one code, for colours in the range of RGB."""
    clip = torch.from_numpy(picture(3)).movedim(2, 0) / 255
    frame = write_rgb(clip, "yuv444p", replace(VIDEO, matrix=BT601))
    other = frame.reformat(format="rgb24", src_colorspace=BT601, src_color_range=1).to_ndarray()
    assert np.abs(picture(3).astype(int) - other).max() <= 3
    assert np.abs(picture(3).astype(int) - other).mean() < 1


@pytest.mark.parametrize("pix_fmt", ["rgb48be", "rgba64be", "rgba64le", "gray16be", "rgba"])
def test_other_layouts_of_the_same_samples(pix_fmt: str) -> None:
    deep = pix_fmt != "rgba"
    codes = np.random.default_rng(1).integers(0, 65536 if deep else 256, (3, 8, 12))
    if pix_fmt.startswith("gray"):
        codes[:] = codes[0]
    clip = torch.from_numpy(codes) / (65535 if deep else 255)
    frame = write_rgb(clip, pix_fmt, colour_for(pix_fmt, VIDEO, 8, 12) if not pix_fmt.startswith("gray") else FULL_GREY)
    assert frame.format.name == pix_fmt
    assert (read_rgb(frame, colour_of(frame)) * (65535 if deep else 255)).round().long().tolist() == codes.tolist()


def test_what_untagged_frames_are_read_as() -> None:
    assert [default_matrix(*s) for s in ((480, 640), (576, 720), (720, 1280), (1080, 1920), (800, 640))] == [
        *(BT601, BT601),
        *(BT709, BT709, BT709),
    ]
    plain = colour_of(av.VideoFrame(64, 48, "yuv420p"))
    assert (plain.matrix, plain.full_range) == (BT601, False)
    assert colour_of(av.VideoFrame(64, 48, "yuvj420p")).full_range
    assert colour_of(av.VideoFrame(64, 48, "rgb24")) == Colour(matrix=RGB, full_range=True)
    assert colour_of(av.VideoFrame(64, 48, "gray")).full_range
    tagged = random_frame("yuv420p", colorspace=BT2020, color_range=2, color_primaries=9, color_trc=16)
    assert colour_of(tagged) == Colour(matrix=BT2020, full_range=True, primaries=9, transfer=16)


def test_colour_to_encode_with() -> None:
    rgb = Colour(matrix=RGB, full_range=True, transfer=13)
    assert colour_for("yuv420p", rgb, 48, 64) == Colour(matrix=BT601, full_range=False, transfer=13)
    assert colour_for("yuv420p", rgb, 720, 1280).matrix == BT709
    assert colour_for("gbrp", VIDEO, 48, 64).matrix == RGB
    assert colour_for("yuv420p", VIDEO, 48, 64) == VIDEO
    assert colour_for("yuvj420p", VIDEO, 48, 64).full_range
