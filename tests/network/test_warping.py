"""Sampling conventions, pinned by identity, one-pixel shifts, and a convolution written out."""

import math

import pytest
import torch
from torch.testing import assert_close

from vrt_core.network.flow import backwarp, flows_by_hop
from vrt_core.network.ops import deform_conv, use_reference
from vrt_core.network.warping import (
    FlowGuidedDeformableConv,
    align_neighbours,
    nearest4,
    warp_neighbours,
)


def constant_flow(x: float, y: float, H: int, W: int, N: int = 1):
    return torch.tensor([x, y]).view(1, 2, 1, 1).expand(N, 2, H, W).contiguous()


def test_backwarp_reads_where_the_flow_points():
    x = torch.rand(1, 3, 7, 9)
    assert_close(backwarp(x, constant_flow(0, 0, 7, 9)), x)
    right = backwarp(x, constant_flow(1, 0, 7, 9))
    assert_close(right[..., :-1], x[..., 1:])
    assert torch.all(right[..., -1] == 0)
    down = backwarp(x, constant_flow(0, 2, 7, 9), "border")
    assert_close(down[:, :, :-2], x[:, :, 2:])
    assert_close(down[:, :, -2:], x[:, :, -1:].expand(-1, -1, 2, -1))
    assert_close(backwarp(x, constant_flow(0.5, 0, 7, 9))[..., :-1], (x[..., 1:] + x[..., :-1]) / 2)


def test_nearest4_gives_the_four_pixels_around_in_order():
    x = torch.arange(20.0).view(1, 1, 4, 5) + 1
    pixels = nearest4(x, constant_flow(1.4, 0.3, 4, 5))[0, :, 0, 0]
    assert pixels.tolist() == [2.0, 7.0, 3.0, 8.0]  # (x, y) = (1, 0), (1, 1), (2, 0), (2, 1)
    whole = nearest4(x, constant_flow(1, 0, 4, 5))
    assert torch.equal(whole[0, 0], whole[0, 3])
    assert torch.equal(whole[0, 0, :, :-1], x[0, 0, :, 1:])
    assert torch.all(whole[0, :, :, -1] == 0)
    assert torch.all(nearest4(x, constant_flow(math.nan, 1e30, 4, 5)) == 0)


def test_ends_of_the_clip_have_no_neighbour():
    clip = torch.rand(1, 3, 3, 4, 4)
    flow = torch.zeros(1, 2, 2, 4, 4)
    following, previous = warp_neighbours(clip, flow, flow).split(12, dim=2)
    assert torch.all(following[:, -1] == 0)
    assert torch.all(previous[:, 0] == 0)
    assert torch.equal(following[:, 0, :3], clip[:, 1])
    assert torch.equal(previous[:, 1, :3], clip[:, 0])


def written_out(x, offset, modulation, weight, bias, groups):
    """DCNv2, one output value at a time."""
    B, C_in, H, W = x.shape
    G, per_group = modulation.shape[1] // 9, weight.shape[1]

    def read(b, c, y, x_):
        total = 0.0
        for yy in (math.floor(y), math.floor(y) + 1):
            for xx in (math.floor(x_), math.floor(x_) + 1):
                if 0 <= yy < H and 0 <= xx < W:
                    total += float(x[b, c, yy, xx]) * (1 - abs(y - yy)) * (1 - abs(x_ - xx))
        return total

    out = torch.zeros(B, weight.shape[0], H, W)
    for b, o, i, j in torch.cartesian_prod(*(torch.arange(n) for n in out.shape)).tolist():
        total = float(bias[o])
        for c in range(per_group):
            channel = o // (weight.shape[0] // groups) * per_group + c
            g = channel // (C_in // G)
            for tap in range(9):
                dy, dx = offset[b, (g * 9 + tap) * 2 : (g * 9 + tap) * 2 + 2, i, j].tolist()
                value = read(b, channel, i + tap // 3 - 1 + dy, j + tap % 3 - 1 + dx)
                total += float(weight[o, c, tap // 3, tap % 3]) * float(modulation[b, g * 9 + tap, i, j]) * value
        out[b, o, i, j] = total
    return out


def deformable_convolution(x, offset, modulation, weight, bias, groups):
    """Call the operation with offsets and mask that need no computation."""
    raw = torch.cat((offset, modulation), dim=1)
    count = offset.shape[1]
    return deform_conv(x, raw, lambda raw, rows: (raw[:, :count], raw[:, count:]), weight, bias, groups)


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize(("C_in", "C_out", "G", "groups"), [(4, 4, 2, 1), (8, 4, 4, 2)])
def test_deformable_convolution_is_what_its_formula_says(C_in, C_out, G, groups, learning):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, C_in, 4, 5), torch.randn(C_out, C_in // groups, 3, 3), torch.randn(C_out)
    offset, modulation = 2 * torch.randn(2, G * 18, 4, 5), torch.rand(2, G * 9, 4, 5)
    with torch.set_grad_enabled(learning):
        assert use_reference() == learning
        result = deformable_convolution(x, offset, modulation, weight, bias, groups)
    assert_close(result, written_out(x, offset, modulation, weight, bias, groups), rtol=1e-4, atol=1e-4)


def test_without_offsets_it_is_a_convolution():
    x, weight, bias = torch.randn(1, 6, 8, 9), torch.randn(6, 6, 3, 3), torch.randn(6)
    result = deformable_convolution(x, torch.zeros(1, 36, 8, 9), torch.ones(1, 18, 8, 9), weight, bias, 1)
    assert_close(result, torch.nn.functional.conv2d(x, weight, bias, padding=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("T", [2, 3, 6])
def test_frames_can_be_aligned_in_any_parts(hops, T):
    torch.manual_seed(0)
    align = FlowGuidedDeformableConv(6, hops, 6, 10.0)
    for p in align.conv_offset[-1].parameters():
        torch.nn.init.normal_(p, std=0.05)
    x = torch.randn(2, T, 6, 8, 8)
    backward, forward = flows_by_hop(torch.randn(2, T - 1, 2, 8, 8), torch.randn(2, T - 1, 2, 8, 8), hops)
    with torch.no_grad():
        whole = align_neighbours(align, x, backward, forward, 0, T)
        parts = [align_neighbours(align, x, backward, forward, t, t + 1) for t in range(T)]
        alone = align(
            x[:, 0],
            torch.cat([x[:, k] if k < T else torch.zeros_like(x[:, 0]) for k in range(1, hops + 1)], 1),
            torch.stack([backward[k][:, 0] if k + 1 < T else torch.zeros(2, 2, 8, 8) for k in range(hops)], 1),
        )
    assert_close(torch.cat(parts, dim=1), whole)
    assert_close(whole[:, 0, :6], alone)
    assert torch.all(whole[:, -1, :6] == 0)
    assert torch.all(whole[:, 0, 6:] == 0)


def test_composed_flows_of_a_uniform_motion_add_up():
    flow = constant_flow(1.0, -0.5, 12, 12).expand(1, 3, 2, 12, 12)
    backward, forward = flows_by_hop(flow, -flow, 3)
    assert [f.shape[1] for f in backward] == [3, 2, 1] == [f.shape[1] for f in forward]
    inner = (slice(None), slice(None), slice(None), slice(4, 8), slice(4, 8))
    assert_close(backward[2][inner], 3 * flow[:, :1][inner])
    assert_close(forward[1][inner], -2 * flow[:, :2][inner])
