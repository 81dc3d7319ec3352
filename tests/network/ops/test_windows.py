"""Windows as index tables, against the plain way: roll, pad, cut."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vrt_core.network.ops.windows import plan_windows, relative_position_index

sizes = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 11), st.integers(1, 11))
windows = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(shape=sizes, window=windows, shifted=st.booleans())
def test_every_token_is_in_one_window(shape, window, shifted):
    plan = plan_windows(shape, window, shifted=shifted, like=torch.zeros(1))
    index = plan.index.flatten()
    tokens = index[index < plan.num_rows]
    assert torch.equal(tokens.sort().values, torch.arange(plan.num_rows))
    assert torch.equal(index[plan.inverse()], torch.arange(plan.num_rows))
    padded = plan.index == plan.num_rows
    inside = torch.ones(padded.shape) if plan.inside is None else plan.inside
    assert torch.equal(inside == 0, padded)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, window=windows, tokens=st.integers(1, 400))
def test_chunks_are_the_windows_in_order(shape, window, tokens):
    plan = plan_windows(shape, window, shifted=True, like=torch.zeros(1))
    length = plan.index.shape[1]
    chunks = list(plan.chunks(tokens))
    assert torch.equal(torch.cat([index for index, *_ in chunks]), plan.index.flatten())
    assert all(len(index) <= max(tokens, length) for index, *_ in chunks)
    kinds = [kind for *_, shares in chunks for kind, count in shares for _ in range(count)]
    assert kinds == [i for i, kind in enumerate(plan.kinds) for _ in range(kind.count)]
    assert all(len(index) == length * sum(count for _, count in shares) for index, _, shares in chunks)
    insides = [inside.flatten() for _, inside, _ in chunks if inside is not None]
    assert (plan.inside is None) == (not insides)
    if plan.inside is not None:
        assert torch.equal(torch.cat(insides), plan.inside.flatten())


@settings(max_examples=60, deadline=None)
@given(shape=sizes, window=windows)
def test_shift_mask_separates_what_the_roll_brought_together(shape, window):
    """Two tokens of a shifted window may attend if they are as far apart in the clip as they are in the window."""
    _, *clip = shape
    plan = plan_windows(shape, window, shifted=True, like=torch.zeros(1))
    padded = [-(-size // w) * w for size, w in zip(clip, plan.window, strict=True)]
    at = torch.stack(torch.meshgrid(*(torch.arange(w) for w in plan.window), indexing="ij")).flatten(1)
    for kind, windows in zip(plan.kinds, plan.index.split([kind.count for kind in plan.kinds]), strict=True):
        for index in windows:
            real = (index < plan.num_rows).nonzero()[:, 0]
            token = index[real] % (clip[0] * clip[1] * clip[2])
            where = torch.stack((token // (clip[1] * clip[2]), token // clip[2] % clip[1], token % clip[2]))
            neighbours = (where[:, :, None] - where[:, None] == (at[:, real, None] - at[:, None, real])).all(0)
            mask = kind.mask if kind.mask is not None else torch.zeros(len(index), len(index))
            assert torch.equal(mask[real][:, real] == 0, neighbours), (padded, kind)


def test_a_shrunk_window_uses_the_leading_block_of_the_bias_index():
    whole = relative_position_index((6, 4, 4), (6, 4, 4), torch.device("cpu"))
    assert whole.min() == 0
    assert whole.max() == 11 * 7 * 7 - 1
    assert torch.equal(relative_position_index((3, 4, 4), (6, 4, 4), torch.device("cpu")), whole[:48, :48])
