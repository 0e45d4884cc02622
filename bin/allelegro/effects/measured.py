"""Measured variant effects: one reader for each kind of table, which converts coordinates, alleles and sign once.

Every reader gives ``MEASURED_COLUMNS``: ``chrom pos ref alt`` (1-based), ``id``, ``group`` (element or factor; "" where
there is none), ``measured`` (log2, positive when the alternative allele increases activity), ``significant`` (1, 0, or
NaN for neither), ``active`` (1/0 where the source says whether the element is active at all, else NaN), ``af``
(frequency of the alternative allele, NaN when unknown), ``evidence`` (signed −log2 FDR of allele-specific sources,
positive for the alternative allele, else NaN), ``distance`` (bp from the element's centre, peak or TSS, NaN when unknown)
``coverage`` (reads over the variant, of allele-specific sources, else NaN), ``match`` (label that a significant variant shares with the controls its source gives it; "" where there is none) and
``true_effect`` (log2, of simulated tables, else NaN). A table of any kind may bring the sequences of both alleles
(``ref_seq alt_seq``): they are kept as ``ref_sequence alt_sequence``.

Columns are found whatever their case, punctuation and blanks (``P-Value``, ``p_value`` and ``pvalue`` are one).
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.variants import VARIANT_COLUMNS, dna
from allelegro.errors import DataError
from allelegro.io.effect_kinds import EffectKind
from allelegro.io.tables import (
    COUNT,
    FLAG,
    MISSING,
    NUMBER,
    POSITION,
    TEXT,
    Kind,
    maybe,
    p_value,
    read_header,
    read_table,
)

MEASURED_COLUMNS = [
    "chrom", "pos", "ref", "alt", "id", "group", "measured", "significant", "active", "af", "evidence", "distance", "match",
    "coverage", "true_effect",
]  # fmt: skip
SEQUENCES = ["ref_sequence", "alt_sequence"]
FDR_POSITIVE, FDR_NEGATIVE, FDR_FLOOR = 0.05, 0.5, 1e-10  # thresholds and pseudocount of human_legnet's protocol
P_SATMUT, P_QTL, P_CONTROL = 1e-5, 1e-5, 1e-3
CONFIDENCE = 0.1  # of CAGI5: p = 1e-5

logger = logging.getLogger(__name__)
Columns = Mapping[str, tuple[Kind, tuple[str, ...]]]

# Field: what its cells are, and the names of its column, the first that a table has.
_COMMON: Columns = {
    "chrom": (TEXT, ("chrom", "chr", "chromosome")),
    "pos": (maybe(POSITION), ("pos", "position")),
    "start": (maybe(COUNT), ("start",)),
    "ref": (TEXT, ("ref", "RefAllele", "reference", "reference_allele")),
    "alt": (TEXT, ("alt", "AltAllele", "alternative", "alternative_allele", "alternate")),
    "id": (TEXT, ("id", "rsid", "name", "variant", "variant_id")),
    "af": (maybe(NUMBER), ("af", "alt_af", "frequency", "maf")),
    "distance": (
        maybe(NUMBER),
        ("distance", "tss_distance", "start_distance", "peak_distance", "distance_to_tss", "distance_to_peak"),
    ),
    "match": (TEXT, ("match", "matched_set")),
    "true_effect": (maybe(NUMBER), ("true_effect",)),
    "ref_sequence": (TEXT, ("ref_sequence", "ref_seq")),
    "alt_sequence": (TEXT, ("alt_sequence", "alt_seq")),
}
_SATMUT: Columns = {
    "measured": (maybe(NUMBER), ("coefficient", "value", "log2_effect", "effect", "measured")),
    "p": (maybe(p_value(P_SATMUT)), ("pvalue", "p", "pval")),
    "confidence": (maybe(NUMBER), ("confidence",)),
    "tags": (maybe(NUMBER), ("barcodes", "tags", "n_barcodes", "n_tags")),
    "group": (TEXT, ("element", "element_name", "region")),
    "release": (TEXT, ("release", "assembly", "genome_build")),
}
_MPRA: Columns = {
    "measured": (
        maybe(NUMBER),
        ("LogSkew.Comb", "log2_skew", "skew", "LogSkew", "log2FC", "logFC", "measured"),
    ),
    "significant": (maybe(FLAG), ("emVar_Hit", "emVar", "significant")),
    "fdr": (maybe(p_value(FDR_POSITIVE)), ("fdr", "adj.P.Val", "padj", "qvalue")),
    "active": (maybe(FLAG), ("Regulatory_Hit", "active")),
}
_ALLELE_SPECIFIC: Columns = {
    "preferred": (TEXT, ("pref_allele",)),
    "group": (TEXT, ("group", "tf", "transcription_factor")),
    "coverage": (maybe(NUMBER), ("max_cover", "total_cover", "coverage", "mean_cover")),
    "es": (maybe(NUMBER), ("comb_es",)),
    "fdr": (maybe(p_value(FDR_POSITIVE)), ("fdr_comb_pval",)),
    "es_ref": (maybe(NUMBER), ("es_mean_ref", "ref_comb_es", "es_ref")),
    "es_alt": (maybe(NUMBER), ("es_mean_alt", "alt_comb_es", "es_alt")),
    "fdr_ref": (maybe(p_value(FDR_POSITIVE)), ("fdrp_bh_ref", "ref_fdr_comb_pval")),
    "fdr_alt": (maybe(p_value(FDR_POSITIVE)), ("fdrp_bh_alt", "alt_fdr_comb_pval")),
    "log_fdr_ref": (maybe(NUMBER), ("FDR_Ref",)),
    "log_fdr_alt": (maybe(NUMBER), ("FDR_Alt",)),
}
# Names that say more than the field: positions of an assembly, and ADASTRA's website (TF_or_cell_FDR_Ref).
_PATTERNS = {
    "pos": re.compile(r"pos(ition)?(hg|grch)\d+"),
    **{f"es_{allele}": re.compile(f".*effectsize{allele}") for allele in ("ref", "alt")},
    **{f"log_fdr_{allele}": re.compile(f".*fdr{allele}") for allele in ("ref", "alt")},
}
_ALLELIC: Columns = {
    "measured": (maybe(NUMBER), ("effect", "measured")),
    "fdr": (maybe(p_value(FDR_POSITIVE)), ("fdr",)),
    "coverage": (maybe(NUMBER), ("n", "coverage")),
}
_QTL: Columns = {
    "measured": (maybe(NUMBER), ("beta", "slope", "effect_size", "effect", "measured")),
    "effect_allele": (TEXT, ("effect_allele", "assessed_allele", "tested_allele")),
    "significant": (maybe(FLAG), ("significant", "label")),
    "p": (maybe(p_value(P_QTL)), ("pvalue", "p", "pval", "pval_nominal", "pval_beta", "Pr(>|t|)")),
    "variant_id": (TEXT, ("variant_id", "variant")),
}
_TRUTH: Columns = {"measured": (maybe(NUMBER), ("effect", "true_effect", "measured"))}
_TABLE: Columns = {
    "measured": (maybe(NUMBER), ("measured",)),
    "significant": (maybe(FLAG), ("significant",)),
    "active": (maybe(FLAG), ("active",)),
    "group": (TEXT, ("group",)),
}


@dataclass(frozen=True)
class MeasuredOptions:
    """How to read a table of measured effects: filters, and of look-alikes the names and conventions of columns."""

    columns: Mapping[str, str] = field(default_factory=dict)
    zero_based: bool = False
    positive_allele: str = "alt"
    release: str | None = None
    min_tags: int = 10


@dataclass
class MeasuredEffects:
    """Measured effects in one convention, with what was excluded by reason."""

    table: pd.DataFrame
    kind: EffectKind
    dropped: Counter[str]


def read_measured(path: Path, kind: EffectKind | str, options: MeasuredOptions | None = None) -> MeasuredEffects:
    """Read a table of measured effects; raises DataError for anything that does not fit its kind."""
    kind, options = EffectKind(kind), options or MeasuredOptions()
    columns, convert = _READERS[kind]
    if options.zero_based:
        columns = {**columns, "pos": (maybe(COUNT), _COMMON["pos"][1])}
    rows = _Rows(path, options, {**_COMMON, **columns})
    convert(rows)
    table = rows.finish(kind)
    excluded = ", ".join(f"{reason} {n:,}" for reason, n in rows.dropped.items()) or "none"
    logger.info("%s: %s variants (%s); excluded: %s", path.name, f"{len(table):,}", kind, excluded)
    unknown = int(table["significant"].isna().sum())
    if 0 < unknown < len(table):
        logger.info("%s: %s variants are neither significant nor not", path.name, f"{unknown:,}")
    return MeasuredEffects(table, kind, rows.dropped)


def plain_name(column: str) -> str:
    """A column's name without case, punctuation and blanks."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


class _Rows:
    """A table while it is read: ``table`` has the fields that were found, by their names here, and counted filters."""

    def __init__(self, path: Path, options: MeasuredOptions, fields: Columns) -> None:
        self.path, self.options, self.fields = path, options, fields
        self.dropped: Counter[str] = Counter()
        self.header = read_header(path)
        self.given = {self._field(name): column for name, column in options.columns.items()}
        found = {name: column for name in fields if (column := self._column(name)) is not None}
        cells = read_table(path, {column: fields[name][0] for name, column in found.items()})
        self.table = pd.DataFrame({name: cells[column] for name, column in found.items()})

    def _field(self, name: str) -> str:
        """The field that ``--column NAME=COLUMN`` means, by its name here or one of its column's names."""
        column = self.options.columns[name]
        if column not in self.header:
            raise DataError(f"{self.path}: --column {name}={column}: no such column; found {', '.join(self.header)}")
        for known, (_, names) in self.fields.items():
            if plain_name(name) in map(plain_name, (known, *names)):
                return known
        raise DataError(f"{self.path}: --column {name}={column}: fields are {', '.join(self.fields)}")

    def _column(self, name: str) -> str | None:
        """The column of a field: as ``--column`` says, else by the first of its names."""
        if name in self.given:
            return self.given[name]
        plain = [plain_name(column) for column in self.header]
        for wanted in map(plain_name, self.fields[name][1]):
            if wanted in plain:
                return self.header[plain.index(wanted)]
        pattern = _PATTERNS.get(name)
        alike = [self.header[at] for at, column in enumerate(plain) if pattern and pattern.fullmatch(column)]
        if len(alike) > 1:
            raise DataError(
                f"{self.path}: columns {' and '.join(alike[:3])} may be {name}; choose one with --column {name}=COLUMN"
            )
        return alike[0] if alike else None

    def has(self, name: str) -> bool:
        """Whether the table has this field."""
        return name in self.table.columns

    def __getitem__(self, name: str) -> pd.Series:
        """A field; DataError when the table has no such column."""
        self.need(name)
        return self.table[name]

    def __setitem__(self, name: str, values: pd.Series | NDArray[Any] | float | str) -> None:
        self.table[name] = values

    def need(self, *names: str) -> None:
        """Raise DataError when the table has none of these fields."""
        if not any(map(self.has, names)):
            wanted = " or ".join(dict.fromkeys(alias for name in names for alias in self.fields[name][1]))
            raise DataError(
                f"{self.path}: no column {wanted}; found {', '.join(self.header)} (name it with --column {names[0]}=COLUMN)"
            )

    def keep(self, good: pd.Series, reason: str) -> None:
        """Keep the ``good`` rows; the others are counted under ``reason``. DataError when none is left."""
        if lost := int((~good).sum()):
            self.dropped[reason] += lost
        if not good.any():
            raise DataError(f"{self.path}: the filter {reason} leaves no variants")
        self.table = self.table[good]

    def finish(self, kind: EffectKind) -> pd.DataFrame:
        """``MEASURED_COLUMNS`` of the rows that have coordinates, alleles and a measurement."""
        for name in ("chrom", "ref", "alt", "measured"):
            self.need(name)
        self.need("pos", "start")
        first = 1 if self.options.zero_based or not self.has("pos") else 0
        self["pos"] = self.table["pos" if self.has("pos") else "start"] + first
        self["chrom"] = self["chrom"].str.replace(r"^(\d+)\.0$", r"\1", regex=True)  # a spreadsheet's number
        self.keep(self["pos"].notna() & ~self["chrom"].isin(MISSING), "no_coordinates")
        self["ref"], self["alt"] = self["ref"].str.upper(), self["alt"].str.upper()
        self.keep(~self["alt"].str.contains(",", regex=False), "several_alternatives")
        self.keep(self["ref"].str.fullmatch("[ACGT]+|-") & self["alt"].str.fullmatch("[ACGT]+|-"), "not_acgt")
        self["measured"] = self["measured"].replace([np.inf, -np.inf], np.nan)
        control = self["significant"].notna() if kind == EffectKind.qtl else False
        self.keep(self["measured"].notna() | control, "no_measurement")
        defaults = {"id": ".", "group": "", "match": ""}
        sequences = SEQUENCES if all(map(self.has, SEQUENCES)) else []
        for name in sequences:
            self[name] = dna(self[name], f"column {name}", self.path)
        table = self.table.assign(
            **{name: defaults.get(name, np.nan) for name in MEASURED_COLUMNS if not self.has(name)}
        )[[*MEASURED_COLUMNS, *sequences]]
        group = table["group"]
        self.table = table.assign(group=group.mask(group.isin(MISSING), "") if self.has("group") else "")
        self.keep(~self.table.duplicated(["chrom", "pos", "ref", "alt", "group"]), "duplicate")
        table = self.table.astype({"pos": "int64", "significant": float, "active": float})
        return table.sort_index().reset_index(drop=True)


def _significance(values: pd.Series, below: float, above: float) -> pd.Series:
    """1 below the one threshold, 0 above the other; NaN between, and where the value is missing."""
    return pd.Series(np.select([values < below, values > above], [1.0, 0.0], np.nan), values.index)


def _satmut(rows: _Rows) -> None:
    """Saturation mutagenesis: Kircher 2019 (repository and website) or CAGI5 (``Value``, ``Confidence``); 1-based."""
    if rows.has("release"):
        releases = sorted(rows["release"].unique())
        if rows.options.release is not None:
            rows.keep(rows["release"] == rows.options.release, "other_release")
        elif len(releases) > 1:
            raise DataError(f"{rows.path}: positions of {' and '.join(releases)}; choose one with --release")
    if rows.has("tags") and rows.options.min_tags:
        rows.keep(rows["tags"] >= rows.options.min_tags, "few_tags")
    rows.need("p", "confidence")
    evidence = rows["p"] if rows.has("p") else rows["confidence"]
    significant = evidence < P_SATMUT if rows.has("p") else evidence >= CONFIDENCE
    rows["significant"] = significant.astype(float).where(evidence.notna())
    if not rows.has("group"):
        rows["group"] = rows.path.name.split(".")[0]


def _mpra(rows: _Rows) -> None:
    """Allelic MPRA (Tewhey 2016, Abell 2022 and look-alikes): log2 skew alt − ref, emVar calls or FDR; 1-based."""
    if not rows.has("significant") and rows.has("fdr"):
        rows["significant"] = _significance(rows["fdr"], FDR_POSITIVE, FDR_NEGATIVE)


def _allele_specific(rows: _Rows) -> None:
    """ADASTRA (dumps: v5 with ``pos``, Mabel with 0-based ``start``; website) and UDACHA or other MixALime exports.

    Either the preferred allele is named, with its combined effect and FDR, or both alleles have an effect size (that
    of the preferred one is positive) and an FDR. The FDR columns of ADASTRA's website hold −log10 of it, so some are
    above 1 (ASB_app/service/adastra_service.py of autosome-ru/ASB-backend).
    """
    if rows.has("preferred") and rows.has("es"):
        rows["preferred"] = rows["preferred"].str.lower()
        rows.keep(rows["preferred"].isin(["ref", "alt"]), "no_preferred_allele")
        alt_preferred, fdr = rows["preferred"] == "alt", rows["fdr"]
        ref_es = alt_es = rows["es"]
    else:
        ref_es, alt_es = rows["es_ref"], rows["es_alt"]
        kind = "log_fdr" if rows.has("log_fdr_ref") and not rows.has("fdr_ref") else "fdr"
        ref_fdr, alt_fdr = rows[f"{kind}_ref"], rows[f"{kind}_alt"]
        if kind == "log_fdr" and (np.maximum(ref_fdr, alt_fdr) > 1).any():
            ref_fdr, alt_fdr = 10.0**-ref_fdr, 10.0**-alt_fdr
        fdr = ref_fdr.where(ref_fdr < alt_fdr.fillna(np.inf), alt_fdr)
        ref_fdr, alt_fdr = ref_fdr.fillna(np.inf), alt_fdr.fillna(np.inf)
        alt_preferred = (alt_fdr < ref_fdr) | ((alt_fdr == ref_fdr) & (alt_es > ref_es))
    rows["measured"] = alt_es.where(alt_preferred, -ref_es)
    rows["significant"] = _significance(fdr, FDR_POSITIVE, FDR_NEGATIVE)
    rows["evidence"] = -np.log2(fdr + FDR_FLOOR) * np.where(alt_preferred, 1.0, -1.0)


def _allelic(rows: _Rows) -> None:
    """Allelic events (``allelic_events.tsv`` of call_allelic_events.py): log2 alt over ref, FDR and reads ``n``; 1-based."""
    fdr = rows["fdr"]
    rows["significant"] = _significance(fdr, FDR_POSITIVE, FDR_NEGATIVE)
    rows["evidence"] = -np.log2(fdr + FDR_FLOOR) * np.where(rows["measured"] < 0, -1.0, 1.0)


def _qtl(rows: _Rows) -> None:
    """Molecular QTLs: ``beta`` per copy of the alternative (or the named ``effect_allele``), significance or p; 1-based.

    Without a ``significant`` (or ``label``) column, p < 1e-5 is significant and p > 1e-3 is not, as in the
    standardised caQTL and dsQTL sets (positives −log10 p > 5, controls < 3). tensorQTL's and FastQTL's tables name the
    variant in ``variant_id`` (``chr1_1000_A_G``). A variant tested for several molecules keeps its smallest p. Controls
    may be without an effect.
    """
    if not rows.has("chrom"):
        parts = rows["variant_id"].str.extract(r"^([^_:]+)[_:](\d+)[_:]([A-Za-z]+)[_:]([A-Za-z]+)(?:[_:]|$)")
        for name, part in zip(("chrom", "pos", "ref", "alt"), parts, strict=True):
            rows[name] = parts[part]
        rows.keep(parts[0].notna(), "variant_id_not_read")
        rows["pos"] = rows["pos"].astype("int64")
    if rows.has("p"):
        rows.table = rows.table.loc[rows["p"].sort_values(kind="stable").index]
    if not rows.has("measured"):
        rows["measured"] = np.nan
    if rows.has("effect_allele"):
        counted, ref, alt = (rows[name].str.upper() for name in ("effect_allele", "ref", "alt"))
        rows["measured"] *= np.select([counted == alt, counted == ref], [1.0, -1.0], np.nan)
        rows.keep((counted == alt) | (counted == ref) | counted.isin(MISSING), "effect_allele_is_neither")
    if not rows.has("significant"):
        rows["significant"] = _significance(rows["p"], P_QTL, P_CONTROL)


def _truth(rows: _Rows) -> None:
    """A simulation's own effects (``effect``, log2): significant from 0.1 on and absent below 0.01."""
    size = rows["measured"].abs()
    rows["significant"] = np.select([size >= 0.1, size < 0.01], [1.0, 0.0], np.nan)
    rows["true_effect"] = rows["measured"]


def _table(rows: _Rows) -> None:
    """Any table, by ``--column measured=…``; ``--zero-based`` and ``--positive-allele ref`` name other conventions."""
    if rows.options.positive_allele == "ref":
        rows["measured"] = -rows["measured"]


_READERS: Mapping[EffectKind, tuple[Columns, Callable[[_Rows], None]]] = {
    EffectKind.satmut: (_SATMUT, _satmut), EffectKind.mpra: (_MPRA, _mpra), EffectKind.qtl: (_QTL, _qtl),
    EffectKind.adastra: (_ALLELE_SPECIFIC, _allele_specific), EffectKind.udacha: (_ALLELE_SPECIFIC, _allele_specific),
    EffectKind.allelic: (_ALLELIC, _allelic), EffectKind.truth: (_TRUTH, _truth), EffectKind.table: (_TABLE, _table),
}  # fmt: skip


def brings_sequences(path: Path) -> bool:
    """Whether a table of measured effects brings the sequences of both alleles (``ref_seq alt_seq``)."""
    header = {plain_name(column) for column in read_header(path)}
    return all(header & set(map(plain_name, _COMMON[name][1])) for name in SEQUENCES)


def measured_pairs(path: Path, kind: EffectKind, options: MeasuredOptions) -> pd.DataFrame:
    """The sequences of a table that brings them, one row a variant: ``chrom pos ref alt id ref_sequence alt_sequence``."""
    table = read_measured(path, kind, options).table
    pairs = table.drop_duplicates(["chrom", "pos", "ref", "alt"])[[*VARIANT_COLUMNS, *SEQUENCES]]
    return pairs.reset_index(drop=True)
