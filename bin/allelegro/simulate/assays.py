"""Measured tables: lentiMPRA, saturation mutagenesis, allelic MPRA, allele-specific binding and accessibility."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from allelegro.io.dna import decode, reverse_complement
from allelegro.simulate.genome import Elements
from allelegro.simulate.grammar import Grammar, construct
from allelegro.simulate.haplotypes import INSERT, Effects, Loci, nearby, window_haplotype
from allelegro.simulate.population import Variants
from allelegro.simulate.settings import REPORTER, Settings
from allelegro.simulate.streams import stream

Codes = NDArray[np.uint8]
Floats = NDArray[np.float64]
OLIGO = 150
SATURATED = 300
TAG_NOISE, FEWEST_TAGS = 1.5, 10  # log2 activity of a single tag (sd); constructs with fewer are excluded
OVERDISPERSION = 800.0  # beta-binomial concentration of allelic counts
ACCESSIBILITY_SHARE = 0.8  # of the effect on activity that shows as accessibility
REFERENCE_BIAS = 0.02
TINY = 1e-9  # error below which a measurement counts as exact
ADASTRA_DEPTH, UDACHA_DEPTH = 150.0, 120.0  # mean reads of a heterozygote


@dataclass(frozen=True)
class Chromosome:
    """One chromosome with everything about it that the assays measure."""

    number: int
    name: str
    genome: Codes
    elements: Elements
    loci: Loci
    variants: Variants


def lentimpra(
    chromosome: Chromosome, controls: int, grammar: Grammar, settings: Settings, rng: np.random.Generator
) -> pd.DataFrame:
    """Constructs of one chromosome in both orientations, one activity column a cell type (``mean_value.<cell>``)."""
    tile, group = _tiles(chromosome, controls, settings, rng)
    inserts = chromosome.genome[tile[:, None] - INSERT // 2 + np.arange(INSERT)]
    fold = rng.integers(1, 11, group.max() + 1)[group]
    noise = {cell: rng.normal(0, settings.mpra_noise / np.sqrt(2), len(tile)) for cell in settings.cells}
    tags = stream(settings.seed, "lentiMPRA tags", chromosome.number)
    real = tags.normal(0, settings.mpra_orientation, len(tile)) / 2
    halves = []
    for orientation, sequences in (("+", inserts), ("-", reverse_complement(inserts))):
        whole = construct(sequences)
        start = tile - INSERT // 2
        half = pd.DataFrame(
            {
                "seq_id": [f"{chromosome.name}:{s}-{s + INSERT}:{orientation}" for s in start],
                "chromosome": chromosome.name,
                "start": start,
                "end": start + INSERT,
                "strand": orientation,
                "seq": [decode(row) for row in whole],
                "fold_num": fold,
                "rev": int(orientation == "-"),
            }
        )
        activity = grammar.reporter(whole, settings.cells)
        tagged = np.ones(len(tile), bool)
        if settings.mpra_tags > 0:
            count = tags.negative_binomial(3, 3 / (3 + settings.mpra_tags), len(tile))
            tagged = count >= FEWEST_TAGS
            error = TAG_NOISE / np.sqrt(np.maximum(count, 1))
        for cell in settings.cells:
            own = rng.normal(0, settings.mpra_noise / np.sqrt(2), len(tile))
            value = activity[cell] + noise[cell] + own
            if settings.mpra_orientation > 0:
                value += real if orientation == "+" else -real
            if settings.mpra_tags > 0:
                value += tags.normal(0, error)
            half[f"mean_value.{cell}"] = value
        halves.append(half.assign(tagged=tagged))
    table = pd.concat(halves).sort_values(["start", "rev"], kind="stable")
    present = rng.random(len(table)) >= 0.02
    kept = present & table.pop("tagged").to_numpy(bool)
    return pd.DataFrame(table[kept])


def _tiles(
    chromosome: Chromosome, controls: int, settings: Settings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Centres of the tested tiles and the fold group of each: two tiles a locus, one a closed cCRE, random controls."""
    elements = chromosome.elements
    opened, closed = elements.centre[elements.open], elements.centre[~elements.open]
    shifted = opened + rng.choice([-1, 1], len(opened)) * rng.integers(40, 81, len(opened))
    near = closed + rng.integers(-20, 21, len(closed))
    control = rng.integers(INSERT, len(chromosome.genome) - INSERT, controls)
    groups = [np.arange(len(opened)), np.arange(len(opened)), len(opened) + np.arange(len(closed))]
    groups.append(len(opened) + len(closed) + np.arange(controls))
    return np.concatenate([opened, shifted, near, control]), np.concatenate(groups)


def saturation(
    chromosome: Chromosome,
    count: int,
    activity: Floats,
    grammar: Grammar,
    settings: Settings,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Every substitution and single-base deletion of the ``count`` most active loci, in Kircher's columns plus the truth."""
    tables = []
    for rank, e in enumerate(np.argsort(-activity)[:count]):
        start = int(chromosome.loci.centre[e]) - SATURATED // 2
        wild = chromosome.genome[start : start + SATURATED]
        mutant = np.repeat(wild[None], 4 * SATURATED, axis=0)
        offset = np.repeat(np.arange(SATURATED), 4)
        allele = np.tile(np.arange(4), SATURATED)  # the reference base's own place holds its deletion
        deleted = allele == wild[offset]
        mutant[np.arange(len(mutant)), offset] = allele
        for row in np.flatnonzero(deleted):
            position = offset[row]
            mutant[row, position:-1] = wild[position + 1 :]
            mutant[row, -1] = chromosome.genome[start + SATURATED]
        effect = grammar.activity(mutant, REPORTER) - grammar.activity(wild[None], REPORTER)
        barcodes = rng.negative_binomial(3, 3 / (3 + 60.0), len(effect)) + 1
        error = settings.satmut_noise / np.sqrt(barcodes)
        measured = effect + rng.normal(0, error)
        dna = rng.poisson(barcodes * 20) + 1
        tables.append(
            pd.DataFrame(
                {
                    "Chrom": chromosome.name,
                    "Pos": start + offset + 1,
                    "Ref": [decode(base) for base in wild[offset][:, None]],
                    "Alt": ["-" if gone else "ACGT"[a] for gone, a in zip(deleted, allele, strict=True)],
                    "Barcodes": barcodes,
                    "DNA": dna,
                    "RNA": np.rint(dna * 2.5 * np.exp2(measured)).astype(int),
                    "Coefficient": measured,
                    "pValue": 2 * stats.norm.sf(np.abs(measured) / np.maximum(error, TINY)),
                    "Element": f"{chromosome.name}_element{rank + 1}",
                    "Release": "simulated",
                    "TrueEffect": effect,
                }
            )
        )
    return pd.concat(tables) if tables else pd.DataFrame()


def allelic_mpra(
    chromosome: Chromosome, grammar: Grammar, settings: Settings, rng: np.random.Generator
) -> pd.DataFrame:
    """Both alleles of the variants near elements in 150-bp oligos, in the CAGI4 layout of Tewhey 2016 plus the truth."""
    variants, genome = chromosome.variants, chromosome.genome
    rows = np.unique(
        np.concatenate(
            [
                np.arange(*nearby(variants, int(c), OLIGO // 2).indices(len(variants)))
                for c in chromosome.elements.centre
            ]
        )
    )
    half = OLIGO // 2
    pairs = []
    for v in rows:
        only = slice(int(v), int(v) + 1)
        pairs.append(
            [
                window_haplotype(genome, variants, only, np.array([c]), int(variants.pos[v]), half)[0]
                for c in (False, True)
            ]
        )
    oligos = np.array(pairs, np.uint8).reshape(len(rows), 2, OLIGO)
    level = np.stack([grammar.activity(oligos[:, a], REPORTER) for a in (0, 1)], axis=1)
    error = settings.allelic_noise * rng.uniform(0.05, 0.2, (len(rows), 2))
    measured = level + rng.normal(0, error)
    skew = measured[:, 1] - measured[:, 0]
    control = rng.lognormal(5, 0.6, level.shape)
    p_active = stats.norm.sf(measured / np.maximum(error, TINY))
    p_skew = 2 * stats.norm.sf(np.abs(skew) / np.maximum(np.sqrt((error**2).sum(1)), TINY))
    alleles = [variants.alleles(genome, int(v)) for v in rows]
    table = pd.DataFrame(
        {"ID": [f"{chromosome.name}:{variants.pos[v] + 1}:{r}:{a}" for v, (r, a) in zip(rows, alleles, strict=True)]}
    )
    table["chr"], table["pos"] = chromosome.name, variants.pos[rows] + 1
    table["RefAllele"], table["AltAllele"] = [r for r, _ in alleles], [a for _, a in alleles]
    for a, letter in enumerate("AB"):
        table[f"C.{letter}.ctrl.mean"] = control[:, a]
        table[f"C.{letter}.exp.mean"] = control[:, a] * np.exp2(measured[:, a])
        table[f"C.{letter}.log2FC"] = measured[:, a]
        table[f"C.{letter}.logP"] = -np.log10(np.maximum(p_active[:, a], 1e-300))
        table[f"C.{letter}.logPadj"] = -np.log10(np.maximum(np.minimum(1, p_active[:, a] * 2 * len(rows)), 1e-300))
    table["LogSkew.Comb"] = skew
    table["C.Skew.logP"] = -np.log10(np.maximum(p_skew, 1e-300))
    table["C.Skew.fdr"] = p_skew  # the false discovery rate replaces it once all chromosomes are together
    table["ref_sequence"], table["alt_sequence"] = [decode(o) for o in oligos[:, 0]], [decode(o) for o in oligos[:, 1]]
    table["true_effect"] = level[:, 1] - level[:, 0]
    return table


def finish_allelic_mpra(table: pd.DataFrame) -> pd.DataFrame:
    """Calls over the whole experiment: regulatory hits, skew FDR and emVars; the columns in the published order."""
    fdr = stats.false_discovery_control(table["C.Skew.fdr"].to_numpy(float))
    active = table[["C.A.logPadj", "C.B.logPadj"]].max(axis=1) > 2
    truth, ref, alt = table.pop("true_effect"), table.pop("ref_sequence"), table.pop("alt_sequence")
    table["C.Skew.fdr"] = -np.log10(np.maximum(fdr, 1e-300))
    table["Regulatory_Hit"], table["emVar_Hit"] = active.astype(int), (active & (fdr < 0.05)).astype(int)
    for column in ("eQTL_lead", "eQTL_gene", "eQTL_beta", "eQTL_tStat", "eQTL_P", "sequence"):
        table[column] = ""
    return table.assign(ref_sequence=ref, alt_sequence=alt, true_effect=truth)


@dataclass(frozen=True)
class AllelicCounts:
    """Reads of each allele summed over heterozygous donors, and one-sided tests for an excess of either."""

    row: NDArray[np.int64]  # index into the effects
    ref: NDArray[np.int64]
    alt: NDArray[np.int64]
    p_ref: Floats
    p_alt: Floats
    heterozygotes: NDArray[np.int64]


def allelic_counts(
    effect: Floats,
    variant: NDArray[np.int64],
    variants: Variants,
    depth: float | Floats,
    rng: np.random.Generator,
) -> AllelicCounts:
    """Beta-binomial counts at common heterozygous SNVs (frequency at least 5 %, 20 reads, 5 of each allele).

    ``depth`` is the mean coverage of a heterozygote, one for all or one a variant.
    """
    genotypes = variants.genotypes[variant]
    het = (genotypes[:, 0::2] != genotypes[:, 1::2]).sum(1)
    frequency = genotypes.mean(1)
    eligible = variants.snv()[variant] & (het > 0) & (np.minimum(frequency, 1 - frequency) >= 0.05)
    row = np.flatnonzero(eligible)
    mean = np.broadcast_to(depth, het.shape)[row] * np.minimum(het[row], 4)
    cover = rng.negative_binomial(4, 4 / (4 + mean))
    expected = 1 / (1 + np.exp2(effect[row])) + REFERENCE_BIAS / 2
    ref = rng.binomial(cover, rng.beta(OVERDISPERSION * expected, OVERDISPERSION * (1 - expected)))
    kept = (cover >= 20) & (np.minimum(ref, cover - ref) >= 5)
    row, ref, cover = row[kept], ref[kept], cover[kept]
    p_ref, p_alt = _excess(ref, cover), _excess(cover - ref, cover)
    return AllelicCounts(row, ref, cover - ref, p_ref, p_alt, het[row])


def _excess(count: NDArray[np.int64], cover: NDArray[np.int64]) -> Floats:
    """P(at least ``count`` of ``cover``) under a balanced beta-binomial."""
    result = np.ones(len(count))
    a = OVERDISPERSION / 2
    for n in np.unique(cover):
        k = np.arange(n + 1)
        choose = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        mass = np.exp(choose + special.betaln(k + a, n - k + a) - special.betaln(a, a))
        upper = np.cumsum(mass[::-1])[::-1]
        result[cover == n] = upper[count[cover == n]]
    return np.minimum(result, 1.0)


def coverage_depth(
    depth: float, name: str, chromosome: Chromosome, effects: Effects, activity: Floats, settings: Settings
) -> float | Floats:
    """Mean coverage of a heterozygote at each effect's variant: log-normal, half of its variance following ``activity [E]``."""
    if not settings.coverage_sd:
        return depth
    own = stream(settings.seed, f"{name} coverage", chromosome.number).normal(size=len(effects.row))
    height = (activity - activity.mean()) / max(float(activity.std()), 1e-9)
    sd = settings.coverage_sd
    spread = sd * (height[effects.element] + own) / np.sqrt(2)
    return np.asarray(depth * np.exp(spread - sd**2 / 2))


def adastra(chromosome: Chromosome, effects: Effects, depth: float | Floats, rng: np.random.Generator) -> pd.DataFrame:
    """Allele-specific binding in the columns of ADASTRA's Bill Cipher release (pos 1-based), FDR left for later."""
    counts = allelic_counts(effects.binding, effects.row, chromosome.variants, depth, rng)
    base = _snv_columns(chromosome, effects.row[counts.row])
    es_ref = np.log2((counts.ref + 0.5) / (counts.alt + 0.5))
    n = len(base)
    return pd.DataFrame(
        {
            "#chr": base["chrom"],
            "pos": base["start"] + 1,
            "ID": base["id"],
            "ref": base["ref"],
            "alt": base["alt"],
            "repeat_type": "",
            "n_peak_calls": rng.integers(1, 9, n),
            "n_peak_callers": rng.integers(1, 5, n),
            "mean_BAD": 1.0,
            "mean_SNP_per_segment": 250.0,
            "n_aggregated": np.minimum(counts.heterozygotes, 4),
            "total_cover": counts.ref + counts.alt,
            "es_mean_ref": es_ref,
            "es_mean_alt": -es_ref,
            "fdrp_bh_ref": counts.p_ref,
            "fdrp_bh_alt": counts.p_alt,
            "motif_log_pref": "",
            "motif_log_palt": "",
            "motif_fc": "",
            "motif_pos": "",
            "motif_orient": "",
            "motif_conc": "No Hit",
            "true_effect": effects.binding[counts.row],
        }
    )


def udacha(chromosome: Chromosome, effects: Effects, depth: float | Floats, rng: np.random.Generator) -> pd.DataFrame:
    """Allele-specific accessibility in the columns of UDACHA's IceKing release (start 0-based), FDR left for later."""
    counts = allelic_counts(ACCESSIBILITY_SHARE * effects.activity, effects.row, chromosome.variants, depth, rng)
    base = _snv_columns(chromosome, effects.row[counts.row])
    es_ref = np.log2((counts.ref + 0.5) / (counts.alt + 0.5))
    prefers_ref = counts.p_ref <= counts.p_alt
    best = np.minimum(counts.p_ref, counts.p_alt)
    return pd.DataFrame(
        {
            "#chr": base["chrom"],
            "start": base["start"],
            "end": base["start"] + 1,
            "mean_bad": 1.0,
            "id": base["id"],
            "max_cover": counts.ref + counts.alt,
            "ref": base["ref"],
            "alt": base["alt"],
            "n_reps": np.minimum(counts.heterozygotes, 4),
            "ref_comb_es": es_ref,
            "alt_comb_es": -es_ref,
            "ref_comb_pval": counts.p_ref,
            "alt_comb_pval": counts.p_alt,
            "ref_fdr_comb_pval": counts.p_ref,
            "alt_fdr_comb_pval": counts.p_alt,
            "pref_allele": np.where(prefers_ref, "ref", "alt"),
            "comb_es": np.abs(es_ref),
            "comb_pval": best,
            "fdr_comb_pval": best,
            "true_effect": ACCESSIBILITY_SHARE * effects.activity[counts.row],
        }
    )


def with_fdr(table: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Benjamini-Hochberg over all chromosomes: ``columns`` maps each FDR column to its p-value column."""
    adjusted: dict[str, Floats] = {
        fdr: stats.false_discovery_control(table[p].to_numpy(float)) if len(table) else np.zeros(0)
        for fdr, p in columns.items()
    }
    return table.assign(**adjusted)


def _snv_columns(chromosome: Chromosome, rows: NDArray[np.int64]) -> pd.DataFrame:
    alleles = [chromosome.variants.alleles(chromosome.genome, int(v)) for v in rows]
    start = chromosome.variants.pos[rows]
    return pd.DataFrame(
        {
            "chrom": chromosome.name,
            "start": start,
            "id": [f"{chromosome.name}:{s + 1}:{r}:{a}" for s, (r, a) in zip(start, alleles, strict=True)],
            "ref": [r for r, _ in alleles],
            "alt": [a for _, a in alleles],
        }
    )
