"""Whether two results folders hold the same tidy metrics: compare_metrics.py FOLDER FOLDER."""

import sys
from pathlib import Path

import pandas as pd

TOLERANCE = 1e-6

left, right = map(Path, sys.argv[1:])
files = sorted(path.relative_to(left) for path in left.rglob("*metrics.tsv"))
assert files, f"no metrics in {left}"
assert files == sorted(path.relative_to(right) for path in right.rglob("*metrics.tsv"))
values, worst = 0, 0.0
for file in files:
    here, there = (pd.read_csv(folder / file, sep="\t") for folder in (left, right))
    pd.testing.assert_frame_equal(here, there, rtol=0, atol=TOLERANCE, obj=str(file))
    numbers = here.select_dtypes("number")
    values += numbers.size
    worst = max(worst, (numbers - there[numbers.columns]).abs().max().max())
print(f"        {values} values of {len(files)} tables, largest difference {worst:.2g}")
