"""Tables of scores, streamed as TSV or Parquet, and the variants' own VCF with the scores as INFO fields."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.io.compression import open_binary, text_lines
from allelegro.io.tables import COUNT, NAME, NUMBER, POSITION, TEXT, maybe, read_table, table_chunks, write_rows

_KEY = ["chrom", "pos", "ref", "alt"]
SCORE_COLUMNS = [
    *_KEY, "id", "model", "effect", "effect_sd", "ref_prediction", "alt_prediction", "n_models",
    "ref_sd", "alt_sd", "n_predictions", "n_unknown",
]  # fmt: skip
_NEEDED = {"chrom": TEXT, "pos": COUNT, "ref": TEXT, "alt": TEXT, "model": NAME, "effect": maybe(NUMBER)}
_OTHERS = {"id": TEXT, **{column: maybe(NUMBER) for column in SCORE_COLUMNS[7:]}}
_ANNOTATED = {
    "effect": ("effect", "A", "Effect of the allele by {}: log2 alternative over reference activity"),
    "sd": ("effect_sd", "A", "Standard deviation of the effect over the members of {}"),
    "alt": ("alt_prediction", "A", "Predicted log2 activity of the alternative allele by {}"),
    "ref": ("ref_prediction", "1", "Predicted log2 activity of the reference allele by {}"),
}


def write_chunks(
    chunks: Iterable[pd.DataFrame], path: Path, columns: list[str], if_empty: Callable[[], None] = lambda: None
) -> int:
    """Write chunks of one table as they come, to a TSV (``.gz`` allowed) or ``.parquet``; the number of rows.

    Without a row ``if_empty`` is called, which may raise; else the table has ``columns`` and no rows.
    """
    write = _write_parquet if path.suffix == ".parquet" else _write_tsv
    chunks = (chunk for chunk in chunks if not chunk.empty)
    first = next(chunks, None)
    if first is None:
        if_empty()
        first = pd.DataFrame(columns=columns)
    with atomic_path(path) as partial:
        return write(chain([first], chunks), partial)


def _write_tsv(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    rows = 0
    for chunk in chunks:
        write_rows(chunk, path, append=rows > 0)
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
    """Chunks of a written table of scores, in its order."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(chunk):
            yield batch.to_pandas()
    else:
        yield from table_chunks(path, {**_NEEDED, **_OTHERS}, chunk)


def read_comparator(path: Path) -> pd.DataFrame:
    """An outside model's score table: ``chrom pos ref alt score``, positive for the alternative allele, 1-based."""
    return read_table(path, {"chrom": TEXT, "pos": POSITION, "ref": TEXT, "alt": TEXT, "score": maybe(NUMBER)})


def join_tables(parts: Sequence[Path], target: Path) -> None:
    """Write tables of one layout under one header, in the order given.

    Raises DataError when their headers differ or when one is given twice.
    """
    with atomic_path(target) as partial, partial.open("wb") as joined:
        header = b""
        seen: dict[Path, Path] = {}
        for path in parts:
            if not path.is_file():
                raise DataError(f"{path}: no such file; check the path")
            if (first := seen.setdefault(path.resolve(), path)) is not path:
                raise DataError(f"{path}: is {first}, given before; give each shard once")
            with path.open("rb") as rows:
                line = rows.readline()
                if header and line != header:
                    raise DataError(f"{path}: its header differs from that of {parts[0].name}; score all shards alike")
                joined.write(line if not header else b"")
                header = line
                shutil.copyfileobj(rows, joined)


def annotate_vcf(source: Path, scores: Iterable[pd.DataFrame], target: Path, model: str) -> int:
    """Copy a VCF/BCF with the effects of a model as declared INFO fields; the number of annotated records.

    ``scores`` are chunks in the order of the file. Fields: ``<model>_effect`` and ``_sd`` (log2 alt/ref and its spread,
    one value an alternative allele, ``.`` where not scored) and ``<model>_alt``; ``<model>_ref`` one a record. All else
    is copied letter by letter (of a BCF: as its text). Raises DataError when the file has such fields already.
    """
    prefix = re.sub(r"[^0-9A-Za-z_.]", "_", model)
    prefix = prefix if re.match(r"[A-Za-z_]", prefix) else f"_{prefix}"
    declared = {
        f"##INFO=<ID={prefix}_{field},": f'Number={number_},Type=Float,Description="{said.format(model)}">'
        for field, (_, number_, said) in _ANNOTATED.items()
    }
    scored, annotated = _InOrder(scores), 0
    with atomic_path(target) as partial, _vcf_writer(partial) as write:
        for line in _vcf_lines(source):
            if line.startswith(tuple(declared)):
                raise DataError(f"{source}: INFO {prefix}_… is there already; give the model another --name")
            if line.startswith("#CHROM"):
                write("".join(f"{start}{rest}\n" for start, rest in declared.items()))
            if not line.startswith("#") and line.strip():
                fields = line.split("\t")
                if info := _info(fields, prefix, scored):
                    fields[7] = info if fields[7] == "." else f"{fields[7]};{info}"
                    line, annotated = "\t".join(fields), annotated + 1
            write(f"{line}\n")
    if scored.next is not None:
        raise DataError(f"{source}: the scores are not in the order of the file (at {scored.next[0]}:{scored.next[1]})")
    return annotated


def _info(fields: Sequence[str], prefix: str, scored: "_InOrder") -> str:
    """The INFO entries of a record, "" when no allele of it was scored."""
    chrom, pos, _, ref, alts = fields[:5]
    rows = [scored.at(chrom, int(pos), ref, alt) for alt in alts.split(",")]
    if not any(rows):
        return ""
    entries = []
    for place, (field, (_, number_, _)) in enumerate(_ANNOTATED.items(), start=4):
        texts = ["." if row is None or pd.isna(row[place]) else f"{row[place]:.6g}" for row in rows]
        if number_ == "1":
            texts = [text for text, row in zip(texts, rows, strict=True) if row][:1]
        entries.append(f"{prefix}_{field}={','.join(texts)}")
    return ";".join(entries)


class _InOrder:
    """Scores of a file's variants, found while the file is read again from its beginning."""

    def __init__(self, scores: Iterable[pd.DataFrame]) -> None:
        columns = [*_KEY, *(column for column, _, _ in _ANNOTATED.values())]
        self._rows = (row for chunk in scores for row in chunk[columns].itertuples(index=False, name=None))
        self._place: tuple[str, int] | None = None
        self._here: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.next: tuple[Any, ...] | None = next(self._rows, None)

    def at(self, chrom: str, pos: int, ref: str, alt: str) -> tuple[Any, ...] | None:
        """The row of a variant, or None; a repeated record gets the row of the first."""
        if (chrom, pos) != self._place:
            self._place, self._here = (chrom, pos), {}
        while self.next is not None and (str(self.next[0]), self.next[1]) == self._place:
            self._here[self.next[2], self.next[3]] = self.next
            self.next = next(self._rows, None)
        return self._here.get((ref, alt))


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
