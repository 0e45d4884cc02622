"""Progress bars: on a terminal only, so that logs of piped runs stay readable."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Iterate with a progress bar on a terminal, silently when stderr is piped."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track as rich_track

    return rich_track(items, description=description, total=total, console=Console(stderr=True))


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Yield ``advance(n, note)``: a bar with a running note on a terminal, nothing when piped."""
    if not sys.stderr.isatty():

        def silent(n: int, note: str = "") -> None:
            """Piped output gets no bar."""

        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(n: int, note: str = "") -> None:
            bar.update(task, advance=n, note=note)

        yield advance
