"""What every tool shares: the app with its error contract, common options, threads and progress."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from allelegro import __version__
from allelegro.cli.cost import recorded
from allelegro.errors import DataError

T = TypeVar("T")

DATA_ERROR = 1


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(__version__)
        raise typer.Exit()


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]
Threads = Annotated[int, typer.Option(min=1, help="Threads to use, also for BLAS and OpenMP.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random; the same seed gives the same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda; auto takes a GPU when there is one and says so.")]


class Tool(typer.Typer):
    """A typer app that turns :class:`DataError` and missing files into one line and exit status 1."""

    def __init__(self) -> None:
        super().__init__(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _writable_numba_cache()
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
        try:
            with recorded():
                return super().__call__(*args, **kwargs)
        except DataError as error:
            fail(str(error))
        except FileNotFoundError as error:
            fail(f"{error.filename}: no such file; check the path")
        except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
            fail(f"{error.filename}: {error.strerror}")
        except BrokenPipeError:
            sys.stderr.close()
            raise SystemExit(DATA_ERROR) from None


def _writable_numba_cache() -> None:
    """Numba keeps compiled kernels beside the library; where that is read-only, in the temporary folder of this user."""
    library = Path(__file__).resolve().parents[1]
    if "NUMBA_CACHE_DIR" not in os.environ and not os.access(library, os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / f"allelegro-numba-{os.getuid()}")


def fail(message: str) -> NoReturn:
    """Print ``error: message`` on one line of stderr and exit with status 1."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(DATA_ERROR)


def limit_threads(threads: int) -> None:
    """Hold every numerical library to ``threads``; call it before importing any of them."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


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
