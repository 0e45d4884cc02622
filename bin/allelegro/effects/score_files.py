"""Tables of scores, streamed as TSV or Parquet, and the variants' own VCF with the scores as INFO fields."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from allelegro.effects.variants import REASONS, SCORED
from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.io.compression import open_binary, text_lines
from allelegro.io.tables import COUNT, NAME, NUMBER, POSITION, TEXT, maybe, read_table, table_chunks, write_rows

_KEY = ["chrom", "pos", "ref", "alt"]
SCORE_COLUMNS = [
    *_KEY, "id", "model", "effect", "effect_sd", "ref_prediction", "alt_prediction", "n_models", "ref_sd", "alt_sd",
    "n_predictions", "n_unknown", "view", "window", "distance", "effect_element", "effect_centred", "effect_sd_models",
    "effect_by_seed", "null_quantile", "seen", "status", "reason",
]  # fmt: skip
_TEXTS = ("id", "view", "window", "effect_by_seed", "seen", "status", "reason")
FIGURES = [
    "effect", "effect_sd", "ref_prediction", "alt_prediction", "ref_sd", "alt_sd", "distance", "effect_element",
    "effect_centred", "effect_sd_models", "null_quantile",
]  # fmt: skip
_NEEDED = {"chrom": TEXT, "pos": COUNT, "ref": TEXT, "alt": TEXT, "model": NAME, "effect": maybe(NUMBER)}
_OTHERS = {column: TEXT if column in _TEXTS else maybe(NUMBER) for column in SCORE_COLUMNS if column not in _NEEDED}
_ANNOTATED = {
    "effect": ("effect", "A", "Effect of the allele by {}: log2 alternative over reference activity"),
    "sd": ("effect_sd", "A", "Standard deviation of the effect over the members of {}"),
    "alt": ("alt_prediction", "A", "Predicted log2 activity of the alternative allele by {}"),
    "ref": ("ref_prediction", "1", "Predicted log2 activity of the reference allele by {}"),
}


def of_model(path: Path, model: str) -> Path:
    """The file of a model: ``{model}`` in the name replaced by the model's."""
    return path.with_name(path.name.replace("{model}", model))


def write_chunks(
    chunks: Iterable[pd.DataFrame], path: Path, columns: list[str], if_empty: Callable[[], None] = lambda: None
) -> int:
    """Write chunks of one table as they come, to a TSV (``.gz`` allowed) or ``.parquet``; the number of rows.

    Without a row ``if_empty`` is called, which may raise; else the table has ``columns`` and no rows.
    """
    rows = 0
    with table_writer(path, columns) as write:
        for chunk in chunks:
            write(chunk)
            rows += len(chunk)
        if not rows:
            if_empty()
    return rows


@contextmanager
def table_writer(path: Path, columns: list[str]) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield what writes one chunk after the other; the table appears whole when the block succeeds, with ``columns`` if empty."""
    writer: Any = _Parquet if path.suffix == ".parquet" else _Tsv
    with atomic_path(path) as partial, writer(partial) as table:
        empty = True

        def write(chunk: pd.DataFrame) -> None:
            nonlocal empty
            if not chunk.empty:
                table.write(chunk)
                empty = False

        yield write
        if empty:
            table.write(pd.DataFrame(columns=columns))


class _Tsv(AbstractContextManager["_Tsv"]):
    def __init__(self, path: Path) -> None:
        self._path, self._begun = path, False

    def write(self, chunk: pd.DataFrame) -> None:
        write_rows(chunk, self._path, append=self._begun)
        self._begun = True

    def __exit__(self, *_: object) -> None:
        return None


class _Parquet(AbstractContextManager["_Parquet"]):
    def __init__(self, path: Path) -> None:
        self._path, self._writer = path, None  # type: Path, Any

    def write(self, chunk: pd.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(chunk, schema=self._writer and self._writer.schema, preserve_index=False)
        self._writer = self._writer or pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


def read_scores(path: Path) -> pd.DataFrame:
    """Read a table of scores; raises DataError when it is no such table or has no rows."""
    if path.suffix != ".parquet":
        return read_table(path, _NEEDED, optional=_OTHERS)
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # what Arrow raises for a file that is no whole Parquet
        raise DataError(f"{path}: not a whole Parquet file ({error}); copy it again") from None
    if missing := [column for column in _NEEDED if column not in table.columns]:
        raise DataError(f"{path}: column {', '.join(missing)} is missing; found {', '.join(table.columns)}")
    if table.empty:
        raise DataError(f"{path}: the table has a header but no rows")
    return table


def read_score_chunks(path: Path, chunk: int = 100_000) -> Iterator[pd.DataFrame]:
    """Chunks of a written table of scores, in its order; they may be empty."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(chunk):
            yield batch.to_pandas()
    else:
        yield from table_chunks(path, _NEEDED, chunk, optional=_OTHERS)


def read_comparator(path: Path) -> pd.DataFrame:
    """An outside model's score table: ``chrom pos ref alt score``, positive for the alternative allele, 1-based."""
    return read_table(path, {"chrom": TEXT, "pos": POSITION, "ref": TEXT, "alt": TEXT, "score": maybe(NUMBER)})


def in_file_order(parts: Sequence[Path], chunk: int) -> Iterator[pd.DataFrame]:
    """Rows of a table's shards in the order of the table: each part has every n-th ``chunk`` rows of it.

    Raises DataError when a part is given twice or when one has not the rows of its place.
    """
    seen: dict[Path, Path] = {}
    for path in parts:
        if (first := seen.setdefault(path.resolve(), path)) is not path:
            raise DataError(f"{path}: is {first}, given before; give each shard once")
    streams = [read_score_chunks(path, chunk) for path in parts]
    ended: Path | None = None
    while True:
        for path, stream in zip(parts, streams, strict=True):
            rows = next(stream, pd.DataFrame())
            if ended is not None and not rows.empty:
                raise DataError(f"{path}: has more rows than fit after {ended.name}; give all shards, in their order")
            if rows.empty or len(rows) < chunk:
                ended = ended or path
            if not rows.empty:
                yield rows[[column for column in SCORE_COLUMNS if column in rows]]
        if ended is not None:
            return


def annotate_vcf(source: Path, scores: Mapping[str, Iterable[pd.DataFrame]], target: Path) -> int:
    """Copy a VCF/BCF with the effects of models as declared INFO fields; the number of records.

    ``scores`` are each model's chunks: one row an alternative allele (one where there is none), in the order of the
    file. Fields: ``<model>_effect``, ``_sd`` (log2 alt/ref and its spread) and ``_alt``, one value an alternative
    allele, ``.`` where not scored; ``<model>_ref`` one a record; ``<model>_status`` of each allele; and ``<model>_seen`` where
    training saw the place. All else is copied letter by letter (of a BCF: as its text). Raises DataError when the file has such fields already.
    """
    models = {model: _prefix(model) for model in scores}
    declared = {
        f"##INFO=<ID={prefix}_{field},": rest for model, prefix in models.items() for field, rest in _declared(model)
    }
    rows = {model: _Rows(source, chunks) for model, chunks in scores.items()}
    records = 0
    with atomic_path(target) as partial, _vcf_writer(partial) as write:
        for line in _vcf_lines(source):
            if line.startswith(tuple(declared)):
                name = line.removeprefix("##INFO=<ID=").partition(",")[0].rpartition("_")[0]
                raise DataError(f"{source}: INFO {name}_… is there already; give the model another --name")
            if line.startswith("#CHROM"):
                write("".join(f"{start}{rest}\n" for start, rest in declared.items()))
            if not line.startswith("#") and line.strip():
                fields = line.split("\t")
                info = ";".join(_info(rows[model].of_record(fields), prefix) for model, prefix in models.items())
                fields[7] = info if fields[7] == "." else f"{fields[7]};{info}"
                line, records = "\t".join(fields), records + 1
            write(f"{line}\n")
    for left in rows.values():
        left.require_end()
    return records


def _prefix(model: str) -> str:
    prefix = re.sub(r"[^0-9A-Za-z_.]", "_", model)
    return prefix if re.match(r"[A-Za-z_]", prefix) else f"_{prefix}"


def _declared(model: str) -> Iterator[tuple[str, str]]:
    for field, (_, number_, said) in _ANNOTATED.items():
        yield field, f'Number={number_},Type=Float,Description="{said.format(model)}">'
    saw = f"yes where training of {model} saw its place, so that the score is no held-out prediction"
    yield "seen", f'Number=A,Type=String,Description="Of each alternative allele {saw}; absent where it saw none">'
    statuses = f"{SCORED}, or why there is no score: {', '.join(REASONS)}"
    yield "status", f'Number=.,Type=String,Description="Of each alternative allele by {model}: {statuses}">'


def _info(rows: Sequence[tuple[Any, ...]], prefix: str) -> str:
    """The INFO entries of a record by a model: figures where an allele of it was scored, and each allele's status."""
    entries = []
    scored = [row for row in rows if row[-1] == SCORED]
    for place, (field, (_, number_, _)) in enumerate(_ANNOTATED.items(), start=len(_KEY)) if scored else ():
        shown = scored[:1] if number_ == "1" else rows
        texts = ["." if pd.isna(row[place]) else f"{row[place]:.6g}" for row in shown]
        entries.append(f"{prefix}_{field}={','.join(texts)}")
    if any(row[-2] == "yes" for row in scored):
        entries.append(f"{prefix}_seen={','.join(row[-2] for row in rows)}")
    return ";".join([*entries, f"{prefix}_status={','.join(row[-1] for row in rows)}"])


class _Rows:
    """The rows of a model's scores, taken record by record while the file that they are of is read again."""

    def __init__(self, source: Path, scores: Iterable[pd.DataFrame]) -> None:
        columns = [*_KEY, *(column for column, _, _ in _ANNOTATED.values()), "seen", "status"]
        self._source = source
        self._rows = (row for chunk in scores for row in chunk[columns].itertuples(index=False, name=None))

    def of_record(self, fields: Sequence[str]) -> list[tuple[Any, ...]]:
        """One row an alternative allele of a VCF line; DataError when the next rows are of another record."""
        alts = [alt or "." for alt in fields[4].split(",")]
        rows = list(islice(self._rows, len(alts)))
        if [tuple(map(str, row[:4])) for row in rows] != [(*fields[:2], fields[3], alt) for alt in alts]:
            raise DataError(f"{self._source}: the scores are not those of the file (at {fields[0]}:{fields[1]})")
        return rows

    def require_end(self) -> None:
        """Raise DataError when there are rows that no record has taken."""
        if (row := next(self._rows, None)) is not None:
            raise DataError(f"{self._source}: the scores are not those of the file (at {row[0]}:{row[1]})")


def _vcf_lines(path: Path) -> Iterator[str]:
    """Lines of a VCF as they are, or of a BCF as text."""
    import pysam

    with open_binary(path) as file:
        is_bcf = file.read(3) == b"BCF"
    if not is_bcf:
        yield from text_lines(path)
        return
    with pysam.VariantFile(str(path)) as records:
        yield from str(records.header).splitlines()
        for record in records:
            yield str(record).rstrip("\n")


@contextmanager
def _vcf_writer(path: Path) -> Iterator[Callable[[str], object]]:
    """Yield a writer of text: plain, bgzip-compressed or, by way of a plain file, BCF, as the name says."""
    import pysam
    import pysam.bcftools
    from pysam.utils import SamtoolsError

    if path.suffix in (".gz", ".bgz"):
        with pysam.BGZFile(str(path), "w", None) as compressed:
            yield lambda text: compressed.write(text.encode())
        return
    if path.suffix != ".bcf":
        with path.open("w", encoding="utf-8") as plain:
            yield plain.write
        return
    text = path.with_suffix(".vcf")
    try:
        with text.open("w", encoding="utf-8") as plain:
            yield plain.write
        # bcftools adds to the header what records need (END of <DEL>, contigs); a record copied by pysam would be broken.
        pysam.bcftools.view("--no-version", "-Ob", "-o", str(path), str(text), catch_stdout=False)
    except SamtoolsError:
        raise DataError(
            "no BCF can be written: the header lacks a contig or INFO field of a record; write a .vcf.gz"
        ) from None
    finally:
        text.unlink(missing_ok=True)
