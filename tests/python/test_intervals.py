import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from allelegro.intervals import Regions, chain_starts, concatenated_ranges, inside, run_starts, union

spans = st.lists(st.tuples(st.integers(0, 150), st.integers(1, 30)), max_size=12)


def arrays(intervals: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    start = np.array([first for first, _ in intervals], np.int64)
    return start, start + np.array([size for _, size in intervals], np.int64)


def covered(intervals: list[tuple[int, int]]) -> np.ndarray:
    base = np.zeros(200, bool)
    for start, size in intervals:
        base[start : start + size] = True
    return base


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), max_size=9))
def test_concatenated_ranges_equal_a_loop(ranges: list[tuple[int, int]]) -> None:
    starts, sizes = (np.array([pair[side] for pair in ranges], np.int64) for side in (0, 1))
    assert concatenated_ranges(starts, sizes).tolist() == [i for s, n in ranges for i in range(s, s + n)]


@given(st.lists(st.integers(0, 3), max_size=20))
def test_run_starts_equal_a_loop(values: list[int]) -> None:
    expected = [i for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    assert run_starts(np.array(values, np.int64)).tolist() == expected


@given(spans, st.lists(st.integers(0, 199), max_size=20), st.integers(0, 5))
def test_union_equals_a_boolean_array(intervals: list[tuple[int, int]], positions: list[int], gap: int) -> None:
    starts, ends = union(*arrays(intervals))
    base = covered(intervals)
    assert inside(np.array(positions, np.int64), starts, ends).tolist() == base[positions].tolist()
    assert np.all(starts[1:] > ends[:-1])
    joined_starts, joined_ends = union(starts, ends, gap)
    wide = starts[1:] - ends[:-1] > gap
    assert joined_starts.tolist() == starts[np.append(True, wide)[: len(starts)]].tolist()
    assert joined_ends.tolist() == ends[np.append(wide, True)[len(wide) + 1 - len(ends) :]].tolist()
    assert chain_starts(starts, ends, gap).sum() == len(joined_starts)


@given(spans, spans)
def test_regions_equal_a_boolean_array(intervals: list[tuple[int, int]], queries: list[tuple[int, int]]) -> None:
    start, end = arrays(intervals)
    regions = Regions.of(pd.DataFrame({"chrom": "1", "start": start, "end": end}))
    base, (low, high) = covered(intervals), arrays(queries)
    assert regions.overlap("1", low, high).tolist() == [bool(base[a:b].any()) for a, b in zip(low, high, strict=True)]
    assert regions.contain("1", low).tolist() == base[low].tolist()
    assert not regions.contain("2", low).any()
