"""What every tool shares: the app with its error contract, and common options."""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from functools import wraps
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, NoReturn, TypeVar, get_args, get_origin

import typer

from allelegro import __version__
from allelegro.errors import DataError, said_by_system
from allelegro.io.atomic import reading, refuse_input, together
from allelegro.io.compression import text_lines
from allelegro.provenance import recorded
from allelegro.resources import Ended, ending_on_signals, out_of_memory, private_caches

DATA_ERROR = 1
Command = TypeVar("Command", bound=Callable[..., Any])


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
SkipBadLibraries = Annotated[
    bool,
    typer.Option(
        "--skip-bad-libraries",
        help="Exclude libraries that cannot be used and record why (*.excluded.tsv, or in the counts store).",
    ),
]


class Tool(typer.Typer):
    """A typer app whose command reads its inputs, writes all its outputs or none, and whose errors are one line.

    Outputs are the options whose names begin with ``out``, and those named in ``outputs``; all other paths are inputs,
    which no output may replace. What is written as files appears together when the command has ended well. SIGTERM and
    SIGHUP clean up as Ctrl-C does; the exit status is 128 and the signal's number.
    """

    def __init__(self, *outputs: str) -> None:
        super().__init__(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        self._outputs = outputs

    def command(self, *args: Any, **kwargs: Any) -> Callable[[Command], Command]:
        """As typer's, with the inputs guarded and the outputs held together."""
        register = super().command(*args, **kwargs)

        def decorate(function: Command) -> Command:
            @wraps(function)
            def guarded(**given: Any) -> None:
                inputs, outputs = self._paths(given)
                twice = next((path for at, path in enumerate(outputs) if path in outputs[:at]), None)
                if twice is not None:
                    raise DataError(f"{twice}: two outputs have this name; give each its own")
                with reading(inputs):
                    for path in outputs:
                        refuse_input(path)
                    with together():
                        function(**given)

            guarded.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
            register(guarded)
            return function

        return decorate

    def _paths(self, given: Mapping[str, Any]) -> tuple[list[Path], list[Path]]:
        """The files and folders among the values of options (NAME=PATH, too) that are inputs, and the outputs."""
        inputs: list[Path | str] = []
        outputs: list[Path] = []
        for name, value in given.items():
            for item in value if isinstance(value, list | tuple) else [value]:
                if name.startswith("out") or name in self._outputs:
                    outputs += [item] if isinstance(item, Path) else []
                elif isinstance(item, Path):
                    inputs.append(item)
                elif isinstance(item, str):  # a list of names as a file, or NAME=PATH
                    inputs += [item] if os.path.isfile(item) else [item.partition("=")[2]]  # noqa: PTH113
        # os.path.exists is False where Path.exists raises, as for a long list of names.
        return [Path(path) for path in inputs if path and os.path.exists(path)], outputs  # noqa: PTH110

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the tool, recorded; an expected error becomes one line on stderr and SystemExit with status 1."""
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
        try:
            with ending_on_signals():
                private_caches()
                with recorded():
                    return super().__call__(*args, **kwargs)
        except Ended as ended:
            print(f"error: ended by {ended.signal.name}", file=sys.stderr)
            raise SystemExit(128 + ended.signal) from None
        except DataError as error:
            fail(str(error))
        except BrokenPipeError:
            sys.stderr.close()
            raise SystemExit(DATA_ERROR) from None
        except OSError as error:
            fail(said_by_system(error))
        except MemoryError:
            fail("out of memory; give the machine more, or the tool fewer --threads")
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            fail("out of memory; give the machine more, or the tool a smaller --batch-size or fewer --threads")


def with_settings(kind: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of a settings dataclass as options (help and range are their metadata).

    The command gets them as ``settings``. Fields without metadata are filled from its own options of their names.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]

        @wraps(command)
        def with_options(**given: Any) -> None:
            chosen = {field.name: given[field.name] for field in fields(kind)}
            lists = {name: tuple(value) for name, value in chosen.items() if isinstance(value, list)}
            command(**{option.name: given[option.name] for option in own}, settings=kind(**(chosen | lists)))

        options = [option_of(field) for field in fields(kind) if field.metadata]
        with_options.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        return with_options

    return decorate


def option_of(field: Field[Any]) -> inspect.Parameter:
    """The command-line option of a field of settings; a tuple is an option that can be repeated, a flag has no opposite."""
    kind: Any = field.type
    default: Any = field.default
    names, limits = [], {"min": field.metadata["low"], "max": field.metadata["high"]}
    if get_origin(kind) is tuple:
        kind, default = GenericAlias(list, get_args(kind)[0]), list(default)
    elif kind is bool:
        names, limits = [f"--{field.name.replace('_', '-')}"], {}
    option = typer.Option(*names, help=field.metadata["help"], **limits)
    annotation: Any = Annotated[kind, option]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def name_and_value(text: str, option: str, what: str = "VALUE") -> tuple[str, str]:
    """The two sides of a NAME=VALUE option; ``what`` the message calls the value."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"{option} {text}: write NAME={what}")
    return name, value


def fail(message: str) -> NoReturn:
    """Print ``error: message`` on one line of stderr and exit with status 1."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(DATA_ERROR)


def read_names(given: Sequence[str] | None) -> list[str] | None:
    """Donors or windows named by options: each a file with one name a line (up to a tab), or names with commas.

    None stays None (all). Raises DataError when nothing is named.
    """
    if given is None or not given:
        return None
    names: list[str] = []
    for item in given:
        if os.path.isfile(item):  # noqa: PTH113 (Path.is_file raises when a long list of names is no possible path)
            firsts = (line.split("\t")[0].strip() for line in text_lines(Path(item)) if not line.startswith("#"))
            names += [first for first in firsts if first]
        else:
            names += [name for name in item.split(",") if name]
    if not names:
        raise DataError(f"{given[0]}: names nothing; give names, or a file with one name a line")
    return names
