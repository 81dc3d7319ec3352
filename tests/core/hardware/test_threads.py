"""Threads beside the network's use one core, and leave the number of the others alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from vrt_core.hardware import use_one_openmp_thread


def in_a_new_thread[T](work: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_a_thread_that_computes_alone_has_no_helpers(three_threads: None) -> None:
    def numbers() -> list[int]:
        numbers_of_threads = [torch.get_num_threads()]
        for _ in range(2):
            use_one_openmp_thread()
            numbers_of_threads.append(torch.get_num_threads())
        return numbers_of_threads

    assert in_a_new_thread(numbers) == [3, 1, 1]
    assert torch.get_num_threads() == 3
    assert in_a_new_thread(torch.get_num_threads) == 3


def test_it_may_be_the_first_that_a_thread_does(three_threads: None) -> None:
    def number() -> int:
        use_one_openmp_thread()
        torch.rand(100_000).sum()
        return torch.get_num_threads()

    assert in_a_new_thread(number) == 1
