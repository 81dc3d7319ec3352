"""Which segments workers get, when, and how many workers there are."""

import pytest

from vrt_jobs.cluster_plan import Resources, SegmentQueue, cpu_share, plan_workers
from vrt_jobs.errors import JobError
from vrt_media.clip import MediaError


def take_all(queue: SegmentQueue) -> list[int]:
    """Take segments until there is none at the moment."""
    indices = []
    while len(indices) < 100 and (index := queue.take()) is not None:
        indices.append(index)
    return indices


def restore_all(queue: SegmentQueue, clip_frames: int, segment_frames: int, *, at_a_time: int = 1) -> list[int]:
    """Restore what the queue gives, of a clip of that length; return the numbers in the order in which they came."""
    indices: list[int] = []
    while not queue.is_complete:
        taken = [index for _ in range(at_a_time) if (index := queue.take()) is not None]
        assert taken, "it waits for nothing"
        indices += taken
        for index in taken:
            num_frames = min(max(clip_frames - index * segment_frames, 0), segment_frames)
            queue.finish(index, num_frames, clip_frames if num_frames < segment_frames else None)
    assert queue.num_frames == clip_frames
    return indices


def test_segments_come_in_order_up_to_what_the_container_announces() -> None:
    assert take_all(SegmentQueue(16, expected_frames=60)) == [0, 1, 2, 3]
    assert take_all(SegmentQueue(16, expected_frames=64)) == [0, 1, 2, 3, 4]  # the last one looks for the end
    assert len(take_all(SegmentQueue(16))) == 100


@pytest.mark.parametrize("announced", [None, 1, 16, 40, 96, 100, 160, 500])
@pytest.mark.parametrize("at_a_time", [1, 2, 7])
def test_the_end_is_where_a_worker_reaches_it(announced: int | None, at_a_time: int) -> None:
    """Whatever the container announces, every segment is restored once, and few behind the end are tried."""
    queue = SegmentQueue(16, expected_frames=announced)
    indices = restore_all(queue, 100, 16, at_a_time=at_a_time)
    assert indices[:7] == list(range(7))
    assert len(indices) <= 7 + at_a_time


def test_a_clip_of_whole_segments_ends_with_an_empty_one() -> None:
    assert restore_all(SegmentQueue(16, expected_frames=32), 32, 16) == [0, 1, 2]


def test_a_worker_that_reads_ahead_may_know_the_end_earlier() -> None:
    queue = SegmentQueue(16, expected_frames=32)
    assert take_all(queue) == [0, 1, 2]
    queue.finish(1, 16, 32)
    queue.finish(0, 16)
    assert queue.is_complete
    assert queue.take() is None


def test_a_job_goes_on_with_what_is_missing() -> None:
    queue = SegmentQueue(16, finished=[0, 2, 5], expected_frames=100)
    assert take_all(queue) == [1, 3, 4, 6]
    queue = SegmentQueue(16, finished=[0, 1, 3], expected_frames=64, num_frames=60)
    assert take_all(queue) == [2]
    queue.finish(2, 16)
    assert queue.is_complete


def test_a_job_that_lacks_only_the_end_looks_for_it() -> None:
    """As a kill between the last record and that of the end leaves it."""
    queue = SegmentQueue(16, finished=range(7), expected_frames=100)
    assert take_all(queue) == [7]
    queue.finish(7, 0, 100)
    assert queue.is_complete


def test_what_a_lost_worker_had_comes_first() -> None:
    queue = SegmentQueue(16, expected_frames=100)
    assert [queue.take() for _ in range(4)] == [0, 1, 2, 3]
    queue.give_back(2, 7, "it was killed")
    queue.give_back(1, 8, "it was killed")
    assert [queue.take() for _ in range(3)] == [1, 2, 4]


def test_another_worker_gets_what_a_lost_one_had() -> None:
    """As long as there is one that has not failed at it."""
    queue = SegmentQueue(16, expected_frames=100)
    assert queue.take(1, (0, 1)) == 0
    queue.give_back(0, 1, "it was killed")
    assert queue.take(1, (0, 1)) == 1
    assert queue.take(0, (0, 1)) == 0
    queue.give_back(0, 0, "it was killed")
    assert queue.take(1, (0, 1)) == 0
    queue.give_back(1, 1, "it was killed")
    assert queue.take(1, (1,)) == 1


def test_a_segment_that_ends_three_workers_is_an_error() -> None:
    queue = SegmentQueue(16, expected_frames=100)
    assert queue.take() == 0
    assert queue.take() == 1
    for _ in range(2):
        queue.give_back(1, 0, "out of memory")
        assert queue.take() == 1
    queue.give_back(1)  # not its fault
    assert queue.take() == 1
    with pytest.raises(MediaError, match=r"segment 1 \(output frames 16 to 31\) ended 3 workers.*out of memory"):
        queue.give_back(1, 0, "out of memory")


def test_what_lies_behind_the_end_is_not_tried_again() -> None:
    queue = SegmentQueue(16)
    assert [queue.take() for _ in range(3)] == [0, 1, 2]
    queue.finish(1, 4, 20)
    queue.give_back(2, 0, "it was killed")
    assert queue.take() is None
    queue.give_back(0, 0, "it was killed")
    assert queue.take() == 0


def test_processors_are_shared_evenly() -> None:
    assert cpu_share([2], 2) == 1
    assert cpu_share([16], 3) == 5
    assert cpu_share([16, 16], 3) == 8  # not 10, of which one machine has room for one only
    assert cpu_share([16, 4], 2) == 8
    assert cpu_share([16, 4], 3) == 5
    assert cpu_share([2], 3) == 0


def test_workers_get_gpus_if_there_are_any() -> None:
    assert plan_workers([(32, 4), (32, 4), (64, 0)], "auto", None) == Resources(8, "cuda", 8, 1)
    assert plan_workers([(32, 4)], "cuda", 2) == Resources(2, "cuda", 8, 1)
    assert plan_workers([(32, 4), (16, 0)], "cpu", None) == Resources(2, "cpu", 16, 0)
    assert plan_workers([(2, 0)], "auto", 2) == Resources(2, "cpu", 1, 0)
    with pytest.raises(JobError, match="--workers 5: the cluster has 4 GPUs"):
        plan_workers([(32, 4)], "auto", 5)
    with pytest.raises(JobError, match="--workers 3: the cluster has 2 processors"):
        plan_workers([(2, 0)], "auto", 3)
    with pytest.raises(JobError, match="cluster has 0 GPUs"):
        plan_workers([(2, 0)], "cuda", None)
    with pytest.raises(JobError, match="--device cuda:1"):
        plan_workers([(32, 4)], "cuda:1", None)
