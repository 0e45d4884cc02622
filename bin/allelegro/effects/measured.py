"""Measured variant effects: one reader per source, which converts coordinates, alleles and sign once.

Every reader gives ``TRUTH_COLUMNS``: ``chrom pos ref alt`` (1-based), ``id``, ``group`` (element or factor; "" where
there is none), ``measured`` (log2, positive when the alternative allele increases activity), ``significant`` (1, 0, or
NaN for neither), ``active`` (1/0 where the source says whether the element is active at all, else NaN), ``af``
(frequency of the alternative allele, NaN when unknown), ``evidence`` (signed −log2 FDR of allele-specific sources,
positive for the alternative allele, else NaN), ``distance`` (bp from the element's centre, peak or TSS, NaN when unknown)
``match`` (label that a significant variant shares with the controls its source gives it; "" where there is none) and
``true_effect`` (log2, of simulated tables, else NaN).
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.effects.variants import ALIASES
from allelegro.errors import DataError
from allelegro.io.tables import COUNT, GUESS, NAME, NUMBER, TEXT, read_table

TRUTH_COLUMNS = [
    "chrom", "pos", "ref", "alt", "id", "group", "measured", "significant", "active", "af", "evidence", "distance", "match",
    "true_effect",
]  # fmt: skip
_DISTANCES = ("distance", "tss_distance", "start_distance", "peak_distance", "distance_to_tss", "distance_to_peak")
KINDS = ("satmut", "mpra", "adastra", "udacha", "qtl", "truth", "table")
FDR_POSITIVE, FDR_NEGATIVE, FDR_FLOOR = 0.05, 0.5, 1e-10  # thresholds and pseudocount of human_legnet's protocol

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TruthOptions:
    """How to read a truth table: filters, and for look-alikes the names and conventions of its columns."""

    columns: Mapping[str, str] = field(default_factory=dict)
    zero_based: bool = False
    positive_allele: str = "alt"
    release: str | None = None
    min_tags: int = 10
    max_p: float = 1e-5


@dataclass
class Truth:
    """A truth table in one convention, with what was left out by reason."""

    table: pd.DataFrame
    kind: str
    dropped: Counter[str]


class _Rows:
    """A source table while it is read: renamed columns and counted filters."""

    def __init__(self, path: Path, options: TruthOptions) -> None:
        raw = read_table(path, others=GUESS)
        self.path, self.options = path, options
        missing = [f"{name}={column}" for name, column in options.columns.items() if column not in raw.columns]
        if missing:
            raise DataError(f"{path}: --column {', '.join(missing)}: no such column; found {', '.join(raw.columns)}")
        self.table = raw.rename(columns={column: name for name, column in options.columns.items()})
        self.dropped: Counter[str] = Counter()

    def find(self, *names: str) -> str | None:
        """The first of these columns that exists (case ignored)."""
        lower = {str(column).lower(): str(column) for column in self.table.columns}
        return next((lower[name.lower()] for name in names if name.lower() in lower), None)

    def need(self, *names: str) -> pd.Series:
        """The first of these columns that exists; DataError when none does."""
        column = self.find(*names)
        if column is None:
            raise DataError(
                f"{self.path}: no column {' or '.join(names)}; found {', '.join(map(str, self.table.columns))} "
                "(name it with --column)"
            )
        return self.table[column]

    def number(self, *names: str) -> pd.Series:
        """A column as numbers; text that is no number is missing."""
        return pd.to_numeric(self.need(*names), errors="coerce")

    def optional(self, *names: str) -> pd.Series:
        """A numeric column, or NaN throughout when it does not exist."""
        return self.number(*names) if self.find(*names) else pd.Series(np.nan, self.table.index)

    def keep(self, good: pd.Series, reason: str) -> None:
        """Drop and count the rows that are not ``good``; DataError when none is left."""
        self.table = self.filtered(self.table, good, reason)

    def filtered(self, table: pd.DataFrame, good: pd.Series, reason: str) -> pd.DataFrame:
        """The ``good`` rows of ``table``; the others are counted under ``reason``."""
        if lost := int((~good).sum()):
            self.dropped[reason] += lost
        if not good.any():
            raise DataError(f"{self.path}: the filter {reason} leaves no variants")
        return table[good]

    def split_variant_id(self) -> None:
        """Make ``chrom pos ref alt`` of ``variant_id`` (``chr1_1000_A_G``, a further part ignored); others are dropped."""
        parts = (
            self.need("variant_id")
            .astype(str)
            .str.extract(r"^([^_:]+)[_:](\d+)[_:]([A-Za-z]+)[_:]([A-Za-z]+)(?:[_:]|$)")
        )
        self.table = self.table.assign(
            **dict(zip(("chrom", "pos", "ref", "alt"), (parts[n] for n in parts), strict=True))
        )
        self.keep(parts[0].notna(), "variant_id_not_read")

    def position(self, base: int) -> pd.Series:
        """1-based positions from the column at hand: ``pos`` (counted from ``base``) or 0-based ``start``."""
        if self.find("pos", "position"):
            return self.number("pos", "position") + (1 - base)
        return self.number("start") + 1

    def finish(self, kind: str, pos: pd.Series, **columns: pd.Series | str | float) -> Truth:
        """Assemble ``TRUTH_COLUMNS``, dropping rows without coordinates, alleles or measurement."""
        table = pd.DataFrame(
            {
                "chrom": self.need("chrom", "chr", "chromosome").astype(str).str.replace(r"\.0$", "", regex=True),
                "pos": pos,
                "ref": self.need("ref", "RefAllele").astype(str).str.upper(),
                "alt": self.need("alt", "AltAllele").astype(str).str.upper(),
                "id": self.table[column].astype(str) if (column := self.find("id", "rsid", "name", "variant")) else ".",
                "group": "", "significant": np.nan, "active": np.nan, "af": self.optional("af", "alt_af", "frequency", "maf"),
                "evidence": np.nan, "distance": self.optional(*_DISTANCES),
                "match": self.table[match].fillna("").astype(str) if (match := self.find("match", "matched_set")) else "",
                "true_effect": self.optional("true_effect", "TrueEffect"), **columns,
            },
            index=self.table.index,
        )  # fmt: skip
        located = table["pos"].notna() & (table["pos"] >= 1) & (table["chrom"] != "nan")
        table = self.filtered(table, located, "no_coordinates")
        dna = table["ref"].str.fullmatch("[ACGT]+|-") & table["alt"].str.fullmatch("[ACGT]+|-")
        table = self.filtered(table, dna, "not_acgt")
        known = table["measured"].notna() | (table["significant"].notna() if kind == "qtl" else False)
        table = self.filtered(table, known, "no_measurement")
        table = self.filtered(table, ~table.duplicated(["chrom", "pos", "ref", "alt", "group"]), "duplicate")
        table = table.astype({"pos": "int64", "significant": float, "active": float})[TRUTH_COLUMNS]
        return Truth(table.sort_index().reset_index(drop=True), kind, self.dropped)


def read_truth(path: Path, kind: str, options: TruthOptions | None = None) -> Truth:
    """Read a truth table of ``kind`` (one of ``KINDS``); raises DataError for anything that does not fit it."""
    if kind not in _READERS:
        raise DataError(f"{path}: kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    truth = _READERS[kind](_Rows(path, options or TruthOptions()))
    left_out = ", ".join(f"{reason} {n:,}" for reason, n in truth.dropped.items()) or "none"
    logger.info("%s: %s variants (%s); left out: %s", path.name, f"{len(truth.table):,}", kind, left_out)
    return truth


def _satmut(rows: _Rows) -> Truth:
    """Saturation mutagenesis: Kircher 2019 (``Coefficient``, ``pValue``) or CAGI5 (``Value``, ``Confidence``); 1-based."""
    if release := rows.find("release"):
        releases = sorted(rows.table[release].astype(str).unique())
        if rows.options.release is None and len(releases) > 1:
            raise DataError(f"{rows.path}: positions of {' and '.join(releases)}; choose one with --release")
        if rows.options.release is not None:
            rows.keep(rows.table[release].astype(str) == rows.options.release, "other_release")
    if rows.find("barcodes", "tags"):
        rows.keep(rows.number("barcodes", "tags") >= rows.options.min_tags, "few_tags")
    if rows.find("pvalue", "p"):
        significant = rows.number("pvalue", "p") < rows.options.max_p
    else:
        significant = rows.number("confidence") >= 0.1  # CAGI5: confidence 0.1 is p = 1e-5
    group = rows.need("element").astype(str) if rows.find("element") else rows.path.name.split(".")[0]
    measured = rows.number("coefficient", "value", "measured")
    return rows.finish(
        "satmut", rows.position(1), measured=measured, group=group, significant=significant.astype(float)
    )


def _mpra(rows: _Rows) -> Truth:
    """Allelic MPRA (Tewhey 2016 and look-alikes): log2 skew alt − ref, emVar calls, active elements; 1-based."""
    measured = rows.number("LogSkew.Comb", "log2_skew", "log2skew", "skew", "LogSkew", "measured")
    return rows.finish(
        "mpra", rows.position(1), measured=measured,
        significant=rows.optional("emVar_Hit", "emvar", "significant"),
        active=rows.optional("Regulatory_Hit", "active"),
    )  # fmt: skip


def _adastra(rows: _Rows) -> Truth:
    """ADASTRA dumps: v5 (``pos``, 1-based) and Mabel (``start``, 0-based); effect sizes of both alleles, one positive."""
    ref_fdr, alt_fdr = rows.number("fdrp_bh_ref"), rows.number("fdrp_bh_alt")
    ref_es, alt_es = rows.number("es_mean_ref"), rows.number("es_mean_alt")
    alt_preferred = (alt_fdr < ref_fdr) | ((alt_fdr == ref_fdr) & (alt_es > ref_es))
    return _allele_specific(rows, "adastra", alt_preferred, ref_es, alt_es, ref_fdr.where(ref_fdr < alt_fdr, alt_fdr))


def _udacha(rows: _Rows) -> Truth:
    """UDACHA and other MixALime exports (0-based ``start``): the preferred allele with its combined effect and FDR."""
    effect = rows.number("comb_es")
    preferred = rows.need("pref_allele").astype(str).str.lower()
    rows.keep(preferred.isin(["ref", "alt"]), "no_preferred_allele")
    preferred, effect = preferred[rows.table.index], effect[rows.table.index]
    return _allele_specific(rows, "udacha", preferred == "alt", effect, effect, rows.number("fdr_comb_pval"))


def _allele_specific(
    rows: _Rows, kind: str, alt_preferred: pd.Series, ref_es: pd.Series, alt_es: pd.Series, fdr: pd.Series
) -> Truth:
    sign = np.where(alt_preferred, 1.0, -1.0)
    significant = np.select([fdr < FDR_POSITIVE, fdr > FDR_NEGATIVE], [1.0, 0.0], np.nan)
    return rows.finish(
        kind, rows.position(1), measured=alt_es.where(alt_preferred, -ref_es),
        significant=pd.Series(significant, fdr.index), evidence=-np.log2(fdr + FDR_FLOOR) * sign,
    )  # fmt: skip


def _qtl(rows: _Rows) -> Truth:
    """Molecular QTLs: ``beta`` per copy of the alternative (or the named ``effect_allele``), significance or p; 1-based.

    Without a ``significant`` (or ``label``) column, p < 1e-5 is significant and p > 1e-3 is not, as in the
    standardised caQTL and dsQTL sets (positives −log10 p > 5, controls < 3). tensorQTL's and FastQTL's tables name the
    variant in ``variant_id`` (``chr1_1000_A_G``). A variant tested for several molecules keeps its smallest p. Controls
    may be without an effect.
    """
    if rows.find("variant_id") and not rows.find("chrom", "chr", "chromosome"):
        rows.split_variant_id()
    p_names = ("pvalue", "p", "pval", "pval_nominal", "p_value", "pval_beta")
    if rows.find(*p_names):
        rows.table = rows.table.loc[rows.number(*p_names).sort_values(kind="stable").index]
    beta = rows.optional("beta", "slope", "effect_size", "measured")
    if rows.find("effect_allele"):
        counted, ref, alt = (rows.need(name).astype(str).str.upper() for name in ("effect_allele", "ref", "alt"))
        beta = beta * np.select([counted == alt, counted == ref], [1.0, -1.0], np.nan)
    if rows.find("significant", "label"):
        significant = rows.number("significant", "label")
    else:
        p = rows.number(*p_names)
        significant = pd.Series(np.select([p < 1e-5, p > 1e-3], [1.0, 0.0], np.nan), p.index)
    return rows.finish("qtl", rows.position(1), measured=beta, significant=significant)


def _truth(rows: _Rows) -> Truth:
    """The simulator's own truth (``effect``, log2): an effect is significant from 0.1 and absent below 0.01."""
    effect = rows.number("effect", "true_effect", "measured")
    size = effect.abs()
    significant = pd.Series(np.select([size >= 0.1, size < 0.01], [1.0, 0.0], np.nan), effect.index)
    return rows.finish("truth", rows.position(1), measured=effect, significant=significant, true_effect=effect)


def _table(rows: _Rows) -> Truth:
    """Any table, by ``--column measured=…``; ``--zero-based`` and ``--positive-allele ref`` name other conventions."""
    measured = rows.number("measured")
    sign = -1.0 if rows.options.positive_allele == "ref" else 1.0
    group = rows.need("group").astype(str) if rows.find("group") else ""
    return rows.finish(
        "table", rows.position(0 if rows.options.zero_based else 1), measured=sign * measured, group=group,
        significant=rows.optional("significant"), active=rows.optional("active"),
    )  # fmt: skip


_READERS: Mapping[str, Callable[[_Rows], Truth]] = {
    "satmut": _satmut, "mpra": _mpra, "adastra": _adastra, "udacha": _udacha,
    "qtl": _qtl, "truth": _truth, "table": _table,
}  # fmt: skip


def read_comparator(path: Path) -> pd.DataFrame:
    """An outside model's score table: ``chrom pos ref alt score``, positive for the alternative allele, 1-based."""
    kinds = {"chrom": NAME, "pos": COUNT, "ref": TEXT, "alt": TEXT, "score": NUMBER}
    return read_table(path, kinds, aliases=ALIASES)
