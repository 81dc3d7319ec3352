"""Window partitions as index tables: every token in one window, masks between what the shift joins."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vrt_core.network.ops.windows import partition_windows, relative_position_index

sizes = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 11), st.integers(1, 11))
windows = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(shape=sizes, window=windows, shifted=st.booleans())
def test_every_token_is_in_one_window(shape, window, shifted):
    partition = partition_windows(shape, window, shifted=shifted, like=torch.zeros(1))
    index = partition.index.flatten()
    tokens = index[index < partition.num_tokens]
    assert torch.equal(tokens.sort().values, torch.arange(partition.num_tokens))
    padded = partition.index == partition.num_tokens
    valid = torch.ones(padded.shape) if partition.valid is None else partition.valid
    assert torch.equal(valid == 0, padded)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, window=windows, tokens=st.integers(1, 400))
def test_chunks_are_the_windows_in_order(shape, window, tokens):
    partition = partition_windows(shape, window, shifted=True, like=torch.zeros(1))
    length = partition.index.shape[1]
    chunks = list(partition.chunks(tokens))
    assert torch.equal(torch.cat([index for index, *_ in chunks]), partition.index)
    assert all(index.numel() <= max(tokens, length) for index, *_ in chunks)
    groups = [i for *_, counts in chunks for i, count in counts for _ in range(count)]
    assert groups == [i for i, group in enumerate(partition.mask_groups) for _ in range(group.num_windows)]
    assert all(len(index) == sum(count for _, count in counts) for index, _, counts in chunks)
    valids = [valid[..., 0] for _, valid, _ in chunks if valid is not None]
    assert (partition.valid is None) == (not valids)
    if partition.valid is not None:
        assert torch.equal(torch.cat(valids), partition.valid)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, window=windows)
def test_shift_mask_separates_what_the_roll_brought_together(shape, window):
    """Two tokens of a shifted window may attend if they are as far apart in the clip as they are in the window."""
    _, *clip = shape
    partition = partition_windows(shape, window, shifted=True, like=torch.zeros(1))
    padded = [-(-size // w) * w for size, w in zip(clip, partition.window, strict=True)]
    at = torch.stack(torch.meshgrid(*(torch.arange(w) for w in partition.window), indexing="ij")).flatten(1)
    counts = [group.num_windows for group in partition.mask_groups]
    for group, windows in zip(partition.mask_groups, partition.index.split(counts), strict=True):
        for index in windows:
            real = (index < partition.num_tokens).nonzero()[:, 0]
            token = index[real] % (clip[0] * clip[1] * clip[2])
            where = torch.stack((token // (clip[1] * clip[2]), token // clip[2] % clip[1], token % clip[2]))
            neighbours = (where[:, :, None] - where[:, None] == (at[:, real, None] - at[:, None, real])).all(0)
            mask = group.mask if group.mask is not None else torch.zeros(len(index), len(index))
            assert torch.equal(mask[real][:, real] == 0, neighbours), (padded, group)


def test_a_shrunk_window_uses_the_leading_block_of_the_bias_index():
    whole = relative_position_index((6, 4, 4), (6, 4, 4), torch.device("cpu"))
    assert whole.min() == 0
    assert whole.max() == 11 * 7 * 7 - 1
    assert torch.equal(relative_position_index((3, 4, 4), (6, 4, 4), torch.device("cpu")), whole[:48, :48])
