"""PRO-cap libraries: alignment, coverage, peaks, windows, counts and their quality."""
