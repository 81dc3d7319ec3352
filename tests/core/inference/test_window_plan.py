"""Properties of window plans: weights sum to 1, windows read real frames and stay within scenes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrt_core import InputError
from vrt_core.inference.window_plan import CrossfadePlan, InterpolationPlan, clean_cuts

lengths = st.integers(1, 60)
cut_lists = st.lists(st.integers(1, 70), max_size=8).map(clean_cuts)


@st.composite
def crossfade_plans(draw: st.DrawFn) -> CrossfadePlan:
    window = draw(st.integers(1, 14))
    overlap, min_frames = draw(st.integers(0, window // 2)), draw(st.none() | st.integers(1, 14))
    return CrossfadePlan(draw(lengths), window, overlap, draw(cut_lists), min_frames=min_frames)


@st.composite
def interpolation_plans(draw: st.DrawFn) -> InterpolationPlan:
    num_held_frames = draw(st.sampled_from([1, 2, 4]))
    return InterpolationPlan(
        num_held_frames * draw(lengths), [num_held_frames * c for c in draw(cut_lists)], num_held_frames
    )


AnyPlan = CrossfadePlan | InterpolationPlan
plans = st.one_of(crossfade_plans(), interpolation_plans())


def scene(n: int, cuts: tuple[int, ...]) -> int:
    return sum(c <= n for c in cuts)


def test_ten_frames_as_drawn() -> None:
    plan = CrossfadePlan(10, 6, 2)
    assert [(w.start, w.stop) for w in plan] == [(0, 6), (4, 10)]
    assert dict(plan[0].output_weights) == pytest.approx({0: 1, 1: 1, 2: 1, 3: 1, 4: 2 / 3, 5: 1 / 3})
    assert dict(plan[1].output_weights) == pytest.approx({4: 1 / 3, 5: 2 / 3, 6: 1, 7: 1, 8: 1, 9: 1})


def test_last_window_reads_back() -> None:
    plan = CrossfadePlan(11, 6, 2)
    assert [(w.start, w.stop) for w in plan] == [(0, 6), (4, 10), (5, 11)]
    assert dict(plan[2].output_weights) == pytest.approx({8: 1 / 3, 9: 2 / 3, 10: 1})


def test_last_window_may_be_short() -> None:
    plan = CrossfadePlan(11, 6, 2, min_frames=4)
    assert [(w.start, w.stop) for w in plan] == [(0, 6), (4, 10), (7, 11)]
    assert plan[2].output_weights == CrossfadePlan(11, 6, 2)[2].output_weights
    assert [(w.start, w.stop) for w in CrossfadePlan(13, 6, 2, min_frames=4)] == [(0, 6), (4, 10), (8, 13)]
    assert [(w.start, w.stop) for w in CrossfadePlan(3, 6, 2, min_frames=4)] == [(0, 3)]


@pytest.mark.parametrize(
    ("cuts", "first", "second"),
    [
        ((3,), [0, 1, 2, 3, 4, 5], [4, 5, 6, 7, 8, 9]),  # before the fade [4, 6): it stays
        ((4,), [0, 1, 2, 3], [4, 5, 6, 7, 8, 9]),
        ((5,), [0, 1, 2, 3, 4], [5, 6, 7, 8, 9]),
        ((6,), [0, 1, 2, 3, 4, 5], [6, 7, 8, 9]),
        ((4, 5), [0, 1, 2, 3, 4], [5, 6, 7, 8, 9]),
        ((4, 6), [0, 1, 2, 3, 4, 5], [6, 7, 8, 9]),
        ((7,), [0, 1, 2, 3, 4, 5], [4, 5, 6, 7, 8, 9]),
    ],
)
def test_cut_replaces_fade(cuts: tuple[int, ...], first: list[int], second: list[int]) -> None:
    plan = CrossfadePlan(10, 6, 2, cuts)
    assert [n for n, _ in plan[0].output_weights] == first
    assert [n for n, _ in plan[1].output_weights] == second
    fades = 4 in first and 4 in second
    assert all(weight == 1 for window in plan for n, weight in window.output_weights if not (fades and n in (4, 5)))


def test_pieces_without_a_share_are_left_out() -> None:
    plan = CrossfadePlan(10, 6, 2, (5,))
    assert plan[0].segments == (range(0, 5),)  # frame 5 belongs to window 1
    assert plan[1].segments == (range(5, 10),)


@settings(deadline=None)
@given(plans)
def test_weights_of_every_frame_sum_to_one(plan: AnyPlan) -> None:
    total = dict.fromkeys(range(plan.num_frames_out), 0.0)
    for k, window in enumerate(plan):
        assert window.index == k
        for n, weight in window.output_weights:
            assert 0 < weight <= 1
            assert k in plan.windows_for_frame(n)
            total[n] += weight
    assert total == pytest.approx(dict.fromkeys(range(plan.num_frames_out), 1.0), abs=1e-12)


@settings(deadline=None)
@given(plans)
def test_windows_of_lists_those_with_a_share(plan: AnyPlan) -> None:
    has_share = {(n, window.index) for window in plan for n, _ in window.output_weights}
    assert has_share == {(n, k) for n in range(plan.num_frames_out) for k in plan.windows_for_frame(n)}


@settings(deadline=None)
@given(plans)
def test_windows_read_inside_the_clip_and_keep_to_scenes(plan: AnyPlan) -> None:
    cuts = tuple(plan.cuts)
    factor = plan.num_frames_out // plan.num_frames
    for window in plan:
        assert 0 <= window.start < window.stop <= plan.num_frames
        for segment in window.segments:
            assert window.start <= segment.start < segment.stop <= window.stop
            assert len({scene(n, cuts) for n in segment}) == 1
        if factor == 1:  # whatever has a share is run
            assert {n for n, _ in window.output_weights} <= {n for segment in window.segments for n in segment}


@settings(deadline=None)
@given(crossfade_plans())
def test_windows_have_full_length(plan: CrossfadePlan) -> None:
    *others, last = (w.stop - w.start for w in plan)
    assert set(others) <= {plan.window}
    assert min(plan.min_frames, plan.num_frames) <= last <= plan.window
    if plan.min_frames == plan.window:
        assert last == min(plan.window, plan.num_frames)


@settings(deadline=None)
@given(crossfade_plans())
def test_no_fade_beside_a_cut(plan: CrossfadePlan) -> None:
    for cut in plan.cuts:
        for n in {cut - 1, cut} & set(range(plan.num_frames)):
            if len(plan.windows_for_frame(n)) == 2:  # then the fade must lie on one side of the cut altogether
                begin = plan.windows_for_frame(n)[-1] * plan.stride
                assert cut < begin or cut > begin + plan.overlap


@settings(deadline=None)
@given(interpolation_plans())
def test_frames_at_the_end_of_a_scene_are_held(plan: InterpolationPlan) -> None:
    ends = {*plan.cuts, plan.num_frames}
    for k, window in enumerate(plan):
        is_held = any(end - plan.num_held_frames <= k < end for end in ends)
        assert bool(window.segments) != is_held
        if not is_held:
            (segment,) = window.segments
            assert k in segment
            assert k + 1 in segment


def test_midpoint_reads_its_neighbours_in_the_scene() -> None:
    plan = InterpolationPlan(8, (4,))
    assert [(w.start, w.stop) for w in plan] == [(0, 3), (0, 4), (1, 4), (3, 4), (4, 7), (4, 8), (5, 8), (7, 8)]


@settings(deadline=None)
@given(plans, st.integers(0, 20))
def test_num_pieces_counts_what_the_windows_hold(plan: AnyPlan, first: int) -> None:
    assert plan.num_passes(first) == sum(len(window.segments) for window in plan[first:])


@settings(deadline=None)
@given(plans, st.data())
def test_settled_windows_stay_when_more_frames_come(plan: AnyPlan, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, plan.num_frames), label="frames so far")
    cuts = [c for c in plan.cuts if c < count]
    if isinstance(plan, CrossfadePlan):
        early: AnyPlan = CrossfadePlan(count, plan.window, plan.overlap, cuts, min_frames=plan.min_frames)
    else:
        early = InterpolationPlan(count, cuts, plan.num_held_frames)
    starts = [window.start for window in plan]
    for k in range(len(plan)):
        assert early.first_frame_needed(k) <= min(starts[k:])
        if early.is_final(k):
            assert early[k] == plan[k]
            assert all(early.windows_for_frame(n) == plan.windows_for_frame(n) for n, _ in plan[k].output_weights)


@settings(deadline=None)
@given(crossfade_plans())
def test_window_depends_on_cuts_near_it_only(plan: CrossfadePlan) -> None:
    for k, window in enumerate(plan):
        near = [c for c in plan.cuts if window.start <= c <= window.stop]
        assert CrossfadePlan(plan.num_frames, plan.window, plan.overlap, near, min_frames=plan.min_frames)[k] == window


@pytest.mark.parametrize(
    "make", [lambda n: CrossfadePlan(n, 12, 2, (5, 10**8)), lambda n: InterpolationPlan(n, (5, 10**8))]
)
def test_a_clip_of_two_months_computes_few_windows(make, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make(134_217_727)
    window_of, calls = type(plan)._window, []
    monkeypatch.setattr(type(plan), "_window", lambda self, k: calls.append(k) or window_of(self, k))
    assert plan[-1].stop == plan.num_frames
    assert plan[len(plan) // 2].index in plan.windows_for_frame(plan[len(plan) // 2].output_weights[0][0])
    assert plan.windows_for_frame(plan.num_frames_out - 1).stop == len(plan)
    assert plan.num_passes() > 10**7
    assert len(calls) < 20


def test_indexing() -> None:
    plan = CrossfadePlan(10, 4, 1)
    assert plan[-1] == plan[len(plan) - 1]
    assert plan[1:3] == (plan[1], plan[2])
    assert len(list(plan)) == len(plan) == 3
    with pytest.raises(IndexError, match="window 3 of a plan of 3"):
        plan[3]
    with pytest.raises(IndexError, match="frame 10"):
        plan.windows_for_frame(10)


@pytest.mark.parametrize(("window", "overlap"), [(0, 0), (4, 3), (4, -1), (1, 1)])
def test_windows_must_be_able_to_overlap(window: int, overlap: int) -> None:
    with pytest.raises(InputError, match="window_frames"):
        CrossfadePlan(10, window, overlap)


def test_clean_cuts() -> None:
    assert clean_cuts([7, 3, 0, 3]) == (3, 7)
    for wrong in ([1.5], [-1], ["a"], "auto"):
        with pytest.raises(InputError, match="cuts"):
            clean_cuts(wrong)  # type: ignore[arg-type]
