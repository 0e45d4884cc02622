"""Writers of scores: streamed TSV or Parquet, and the variants' own VCF with the scores as INFO fields."""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.io.tables import COUNT, NAME, NUMBER, TEXT, maybe, read_table, table_chunks, write_rows

_KEY = ["chrom", "pos", "ref", "alt"]
_KINDS = {
    "chrom": NAME, "pos": COUNT, "ref": TEXT, "alt": TEXT, "id": TEXT, "model": NAME,
    **dict.fromkeys(["effect", "effect_sd", "ref_prediction", "alt_prediction", "n_models"], maybe(NUMBER)),
    **dict.fromkeys(["ref_sd", "alt_sd", "n_predictions", "n_unknown"], maybe(NUMBER)),
}  # fmt: skip
SCORE_COLUMNS = list(_KINDS)


def write_scores(chunks: Iterable[pd.DataFrame], path: Path, allow_empty: bool = False) -> int:
    """Write score chunks to a TSV (``.gz`` allowed) or ``.parquet`` as they come; the number of rows written.

    Raises DataError, and writes nothing, when there is not a single score, unless an empty table is allowed (a shard).
    """
    rows = write_chunks(chunks, path, SCORE_COLUMNS if allow_empty else None)
    if rows == 0 and not allow_empty:
        raise DataError("no variant was left to score; the list of dropped variants (--dropped) says why")
    return rows


def write_chunks(chunks: Iterable[pd.DataFrame], path: Path, empty: list[str] | None) -> int:
    """Write chunks of one table as they come; ``empty`` are the columns of a table without rows (None: no file then)."""
    write = _write_parquet if path.suffix == ".parquet" else _write_tsv
    chunks = (chunk for chunk in chunks if not chunk.empty)
    first = next(chunks, None)
    if first is None and empty is None:
        return 0
    with atomic_path(path) as partial:
        return write(chain([pd.DataFrame(columns=empty) if first is None else first], chunks), partial)


def _write_tsv(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    rows = 0
    for number, chunk in enumerate(chunks):
        write_rows(chunk, path, append=number > 0)
        rows += len(chunk)
    return rows


def _write_parquet(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, schema = 0, None
    with ExitStack() as stack:
        writer = None
        for chunk in chunks:
            table = pa.Table.from_pandas(chunk, schema=schema, preserve_index=False)
            if writer is None:
                schema = table.schema
                writer = stack.enter_context(pq.ParquetWriter(path, schema))
            writer.write_table(table)
            rows += len(chunk)
    return rows


def read_scores(path: Path) -> pd.DataFrame:
    """Read a table of scores written by :func:`write_scores`; raises DataError when it is no such table or empty."""
    needed = [*_KEY, "model", "effect"]
    if path.suffix != ".parquet":
        given = {column: _KINDS[column] for column in needed}
        return read_table(path, given, optional={c: kind for c, kind in _KINDS.items() if c not in given})
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # what Arrow raises for a file that is no whole Parquet
        raise DataError(f"{path}: not a whole Parquet file ({error}); copy it again") from None
    if missing := [column for column in needed if column not in table.columns]:
        raise DataError(f"{path}: column {', '.join(missing)} is missing; found {', '.join(table.columns)}")
    if table.empty:
        raise DataError(f"{path}: the table has a header but no rows")
    return table


def join_tables(parts: Sequence[Path], target: Path) -> None:
    """Write tables of one layout under one header, in the order given; raises DataError when their headers differ."""
    with atomic_path(target) as partial, partial.open("wb") as joined:
        header = b""
        for path in parts:
            if not path.is_file():
                raise DataError(f"{path}: no such file; check the path")
            with path.open("rb") as rows:
                first = rows.readline()
                if header and first != header:
                    raise DataError(f"{path}: its header differs from that of {parts[0].name}; score all shards alike")
                joined.write(first if not header else b"")
                header = first
                shutil.copyfileobj(rows, joined)


def annotate_vcf(source: Path, scores: Iterable[pd.DataFrame], target: Path, name: str) -> int:
    """Copy a VCF/BCF with the effects of model ``name`` as declared INFO fields; the number of annotated records.

    ``scores`` are chunks in the order of the file. Fields: ``<name>_effect`` and ``_sd`` (log2 alt/ref and its spread,
    one value an alternative allele, ``.`` where not scored) and ``<name>_alt``; ``<name>_ref`` one a record.
    """
    import pysam

    prefix = re.sub(r"[^0-9A-Za-z_.]", "_", name)
    prefix = prefix if re.match(r"[A-Za-z_]", prefix) else f"_{prefix}"
    mode = "wb" if target.suffix == ".bcf" else "wz" if target.suffix in (".gz", ".bgz") else "w"
    annotated = 0
    rows = _rows(scores)
    row = next(rows, None)
    with atomic_path(target) as partial, pysam.VariantFile(str(source)) as records:
        for field, number, text in (
            ("effect", "A", f"Effect of the allele by {name}: log2 alternative over reference activity"),
            ("sd", "A", f"Standard deviation of the effect over the members of {name}"),
            ("alt", "A", f"Predicted log2 activity of the alternative allele by {name}"),
            ("ref", "1", f"Predicted log2 activity of the reference allele by {name}"),
        ):
            records.header.add_line(f'##INFO=<ID={prefix}_{field},Number={number},Type=Float,Description="{text}">')
        with pysam.VariantFile(str(partial), mode, header=records.header) as out:
            for record in records:
                values = {}
                for alt in record.alts or ():
                    if row is not None and tuple(row[:4]) == (record.chrom, record.pos, record.ref, alt):
                        values[alt] = row
                        row = next(rows, None)
                if values:
                    annotated += 1
                    for place, field in enumerate(("effect", "sd", "alt"), start=4):
                        record.info[f"{prefix}_{field}"] = tuple(
                            _number(values[alt][place]) if alt in values else None for alt in record.alts or ()
                        )
                    record.info[f"{prefix}_ref"] = next(iter(values.values()))[7]
                out.write(record)
    if row is not None:
        raise DataError(f"{source}: the scores are not in the order of the file (at {row[0]}:{row[1]})")
    return annotated


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _rows(scores: Iterable[pd.DataFrame]) -> Iterator[tuple[Any, ...]]:
    columns = [*_KEY, "effect", "effect_sd", "alt_prediction", "ref_prediction"]
    for chunk in scores:
        yield from chunk.assign(chrom=chunk["chrom"].astype(str))[columns].itertuples(index=False, name=None)


def score_chunks(path: Path, chunk: int = 100_000) -> Iterator[pd.DataFrame]:
    """Chunks of a written table of scores, in its order."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(chunk):
            yield batch.to_pandas()
    else:
        yield from table_chunks(path, _KINDS, chunk)
