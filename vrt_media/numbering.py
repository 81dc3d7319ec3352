"""Numbers in the names of images: those that a sequence lacks."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

MAX_GAPS_NAMED = 5


def describe_gaps(paths: Iterable[Path]) -> str:
    """Return which numbers lack between those of the names, in words; nothing if there are none.

    The last number of a name counts. Sequences may have steps other than 1. Names of which more are missing than there
    are, such as times of photos, are no sequence.
    """
    groups: defaultdict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for path in paths:
        if match := re.fullmatch(r"(.*?)(\d+)(\D*)", path.stem):
            prefix, digits, ending = match.groups()
            groups[prefix, ending][int(digits)] = digits
    gaps: list[str] = []
    num_missing = 0
    for (prefix, ending), numbers in groups.items():
        step = math.gcd(*(b - a for a, b in pairwise(sorted(numbers))))
        if not step or len(range(min(numbers), max(numbers), step)) > 2 * len(numbers):
            continue
        for before, after in pairwise(sorted(numbers)):
            missing = range(before + step, after, step)
            width = len(numbers[before])
            names = [f"{prefix}{number:0{width}d}{ending}" for number in missing]
            if names:
                gaps.append(names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}")
                num_missing += len(names)
    if not gaps:
        return ""
    further = f" and {len(gaps) - MAX_GAPS_NAMED} further gaps" if len(gaps) > MAX_GAPS_NAMED else ""
    total = "1 image" if num_missing == 1 else f"{num_missing} images"
    return f"{', '.join(gaps[:MAX_GAPS_NAMED])}{further}, {total} in all"
