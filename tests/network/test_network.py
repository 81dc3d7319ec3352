"""What the network promises beyond the published values: any size, precisions, compilation, devices, training."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from tests.network.cases import LAYOUTS
from vrt_core import InputError, build_network

SMALL = {  # every branch, few blocks
    "window_size": [4, 4, 4],
    "depths": [2, 1, 1, 2, 1, 1, 1, 2, 1],
    "indep_reconsts": [8],
    "embed_dims": [8] * 7 + [12] * 2,
    "num_heads": [2] * 9,
    "mul_attn_ratio": 0.5,
    "deformable_groups": 2,
    "flow_channels": [4, 4, 4, 4],
    "head_channels": 8,
}
KINDS = {
    "denoise": {"upscale": 1, "nonblind_denoising": True},
    "denoise_prior": {"upscale": 1, "nonblind_denoising": True, "prior_step_px": 6},
    "denoise_groups": {"upscale": 1, "nonblind_denoising": True, "prior_step_px": 6, "group_passes": 2},
    "deblur": {"upscale": 1, "shutters": [0.5, 1.0]},
    "sr": {"upscale": 4},
    "sr_two_hops": {"upscale": 2, "pa_frames": 4, "deformable_groups": 4},
    "interpolate": {"upscale": 1, "pa_frames": 0, "img_size": [4, 64, 64]},
}


@pytest.fixture
def default_dtype():
    yield
    torch.set_default_dtype(torch.float32)


def small(kind: str):
    torch.manual_seed(0)
    network = build_network(**{**SMALL, **KINDS[kind]})
    for name, p in network.named_parameters():  # the offset convolutions start at zero: let them take part
        torch.nn.init.normal_(p, std=0.05) if "conv_offset.6" in name else None
    return network


def clip_for(network, T: int, H: int, W: int, N: int = 1):
    generator = torch.Generator().manual_seed(T * 10000 + H * 100 + W)
    return torch.rand(N, T, 3 + network.config.nonblind_denoising, H, W, generator=generator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 65), (3, 40, 33), (5, 37, 32), (1, 64, 8)])
def test_any_size_is_restored(kind, size):
    network = small(kind)
    T, H, W = size
    scale = network.config.upscale
    with torch.inference_mode():
        out = network(clip_for(network, *size))
    frames = max(T - 3, 1) if kind == "interpolate" else T
    assert out.shape == (1, frames, 3, scale * H, scale * W)
    assert out.isfinite().all()


@pytest.mark.parametrize(
    "name", ["002_VRT_videosr_bi_REDS_16frames", "008_VRT_videodenoising_DAVIS", "009_VRT_videofi_Vimeo_4frames"]
)
def test_any_size_is_accepted_by_published_models(name):
    """With their own windows, widths and hops; fewer blocks, since shapes do not depend on depth."""
    config = LAYOUTS[name]["config"]
    with FakeTensorMode(), torch.device("cpu"), torch.inference_mode():
        network = build_network(**{**config, "depths": [2] * 7 + [1] * (len(config["depths"]) - 7)})
        scale, channels = network.config.upscale, 3 + network.config.nonblind_denoising
        for T, H, W in ((1, 1, 1), (2, 65, 30)):
            out = network(torch.zeros(1, T, channels, H, W))
            assert out.shape == (1, 1 if network.config.interpolates else T, 3, scale * H, scale * W)


def test_padding_mirrors_with_the_edge_repeated():
    network = small("denoise")
    clip = clip_for(network, 2, 30, 32)
    mirrored = torch.cat((clip, clip[..., -2:, :].flip(-2)), dim=-2)
    with torch.inference_mode():
        assert_close(network(clip), network(mirrored)[..., :30, :])
        lone = clip[:, :1]
        assert_close(network(lone), network(lone.expand(-1, 2, -1, -1, -1))[:, :1])


def test_given_flows_are_used():
    network = small("denoise")
    clip = clip_for(network, 3, 32, 40, N=2)
    with torch.inference_mode():
        flows = network.clip_flows(clip[:, :, :3])
        assert_close(network(clip, flows), network(clip), rtol=0, atol=0)
        other = tuple(tuple(level + 2 for level in pyramid) for pyramid in flows)
        assert not torch.equal(network(clip, other), network(clip))
        with pytest.raises(InputError, match="multiples of 8"):
            network(clip[..., :39], flows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 6e-3), (torch.bfloat16, 1e-2)])
def test_half_precision_is_near_single(kind, dtype, tolerance):
    network = small(kind)
    clip = clip_for(network, 5, 40, 48)
    with torch.inference_mode():
        clip = network.append_prior(clip)  # without group filter, which is float32 and may choose other patches
        single = network(clip)
        half = network.to_precision(dtype)(clip)
    assert network.conv_after_body.weight.dtype == dtype
    assert half.dtype == torch.float32
    if network.uses_flows:
        assert all(p.dtype == torch.float32 for p in network.spynet.parameters())
    assert (half - single).norm() / (single - single.mean()).norm() < tolerance


def test_one_graph_compiles():
    network = small("deblur")
    clip = clip_for(network, 2, 32, 32)
    with torch.no_grad():
        expected = network(clip)
        output = torch.compile(network, fullgraph=True, backend="aot_eager")(clip)
    assert_close(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["denoise"])
def test_one_graph_compiles_to_code(kind):
    network = small(kind)
    clip = clip_for(network, 4, 32, 32)
    with torch.no_grad():
        assert_close(torch.compile(network, fullgraph=True)(clip), network(clip), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_forward_stays_on_a_cuda_device(kind, dtype, default_dtype):
    """On pretended tensors: an op that mixes devices, or one that waits for a value, raises."""
    torch.set_default_dtype(dtype)
    with FakeTensorMode(), torch.device("cuda"):
        network = build_network(**{**SMALL, **KINDS[kind]})
        torch.set_default_dtype(torch.float32)
        channels = 3 + network.config.nonblind_denoising
        with torch.inference_mode():
            out = network(torch.zeros(1, 4, channels, 30, 33))
        assert out.device.type == "cuda"
        assert out.dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_gives_what_the_cpu_gives(kind):
    network = small(kind)
    clip = clip_for(network, 5, 40, 48)
    with torch.inference_mode():
        expected = network(clip)
        output = network.cuda()(clip.cuda()).cpu()
    assert (output - expected).norm() / expected.norm() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_learning_runs_the_same_pass_and_reaches_every_weight(kind):
    network = small(kind)
    for name, p in network.named_parameters():  # fresh weights are so small that gradients vanish
        torch.nn.init.normal_(p, std=0.01 if name.startswith("spynet") else 0.3)
    network.double()  # weights as large as these make 1e-4 to 1e-3 of what single precision rounds, by whatever order
    clip = clip_for(network, 4, 32, 32)
    with torch.no_grad():
        flows = network.clip_flows(clip[:, :, :3]) if network.uses_flows else None
        clip = network.append_prior(clip)  # as in training: the group filter passes no gradient
        expected = network(clip, flows)
    out = network(clip, flows)
    assert (out.detach() - expected).norm() / expected.norm() < 1e-6
    out.square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in without if not name.startswith("spynet")]


@pytest.mark.parametrize("kind", ["denoise", "sr_two_hops"])
def test_the_flow_network_learns_from_what_it_steers(kind):
    network = small(kind)
    network(clip_for(network, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.spynet.parameters())
    assert any(p.grad is not None and p.grad.any() for p in network.spynet.parameters())


def test_on_block_is_called_before_every_block():
    network = small("sr")
    calls = 0

    def on_block():
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt

    with torch.inference_mode(), pytest.raises(KeyboardInterrupt):
        network(clip_for(network, 2, 32, 32), on_block=on_block)
    assert calls == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upscale": 5}, "upscale"),
        ({"pa_frames": 3}, "pa_frames"),
        ({"num_heads": [2] * 8}, "num_heads"),
        ({"embed_dims": [9] * 9}, "embed_dims"),
        ({"deformable_groups": 3}, "deformable_groups"),
        ({"shutters": [0.5, 1.5]}, "shutters"),
        ({"prior_step_px": 5, "nonblind_denoising": True, "upscale": 1}, "prior_step_px"),
        ({"prior_step_px": 4, "upscale": 1}, "noise level map"),
        ({"prior_step_px": 4, "upscale": 1, "nonblind_denoising": True, "shutters": [0.5]}, "no shutters"),
        ({"group_passes": 1, "nonblind_denoising": True, "upscale": 1}, "group_passes"),
        ({"depths": [], "embed_dims": [], "num_heads": []}, "depths"),
        ({"shutters": [0.5], "pa_frames": 0, "upscale": 1, "img_size": [4, 64, 64]}, "shutters"),
        ({"window": 8}, "unknown network setting 'window'"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        build_network(**{**SMALL, **change})


@pytest.mark.parametrize("shape", [(3, 3, 32, 32), (1, 2, 3, 32, 32), (1, 0, 4, 32, 32)])
def test_a_clip_of_the_wrong_shape_is_refused(shape):
    with pytest.raises(InputError, match="expected"):
        small("denoise")(torch.zeros(shape))
