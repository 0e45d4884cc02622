"""Example loci: the signal of each genotype, what models predict for it, and the effect of every base change."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.genotype.store import HaplotypeStore
from allelegro.io.contigs import plain_contig
from allelegro.procap.counts import CountsStore, library_sizes
from allelegro.report import tracks
from allelegro.report.report import Figure, Report, Section, Table
from allelegro.report.results import Results

MOST_LOCI = 4
FLANK = 100  # bp shown on either side of the saturated bases
SPAN = 200  # central bp in which a variant is looked for where nothing was saturated
MOST_MODELS = 3
MOST_SEARCHED = 2000  # held-out windows among which telling ones are looked for, the most active first
FEWEST_DONORS = 3  # with and without an allele, for a difference between them
BASES = list("ACGT")


@dataclass
class Locus:
    """A window of the stores: its place, donors' signal, and the genotypes of a common allele when there is one.

    ``signal`` is ``[donor, strand, base]`` in RPM over the whole window, ``genotype`` one label a donor, in order of copies.
    """

    window: pd.Series
    donors: list[str]
    signal: NDArray[np.float64]
    allele: str
    position: int | None
    genotype: "pd.Categorical[object]"


def example_loci(results: Results, report: Report) -> None:
    """Tracks of a few held-out windows; saturation maps and logos where mutagenesis was done."""
    section = report.section("loci", "Example loci")
    saturated = results.table("effects", "saturation", "saturation.tsv")
    regions = {} if saturated is None else {str(name): rows for name, rows in saturated.groupby("region", sort=False)}
    if not regions:
        section.say("No saturation mutagenesis was made in this run.")
    stores = results.stores
    if stores is None:
        section.say("These results hold no counts store or no haplotype store, so no signal by genotype can be shown.")
    told = [] if stores is None else telling_loci(results, stores[1])
    names = list(regions) or ([] if stores is None or told else _held_out_examples(results, stores[1]))
    if not names and not told:
        return
    section.say(
        "Windows that the models did not train on. Tracks are the mean of all donors of a genotype; bars are the observed signal "
        "and what models predict from sequence alone."
    )
    for example in told:
        section.head(f"{example.name}: {example.what}")
        section.say(example.why)
        assert stores is not None
        _by_allele(results, section, *stores, example)
    for name in names[: MOST_LOCI - len(told)]:
        section.head(name)
        if name in regions:
            seen = (regions[name].get("seen", pd.Series(dtype=str)) == "yes").any()
            section.say(
                "Chosen for saturation mutagenesis, though training saw it: no window was held out."
                if seen
                else "Chosen for saturation mutagenesis: among the most active held-out windows, those where donors differ first."
            )
        _one_locus(results, section, name, regions.get(name), stores)


@dataclass(frozen=True)
class Example:
    """A held-out window that shows something: its place in the store, the allele that divides donors, and why it was chosen."""

    place: int
    name: str
    allele: int
    observed: float  # change of log(1 + RPM) with a copy of the allele
    clear: float  # the same in standard errors
    predicted: float
    what: str = ""

    @property
    def why(self) -> str:
        """Why this window is shown, with its figures."""
        return (
            f"With a copy of the allele log(1 + RPM) changes by {self.observed:+.2f} ({abs(self.clear):.1f} standard errors); predicted from "
            f"sequence alone: {self.predicted:+.2f}."
        )


def telling_loci(results: Results, store: HaplotypeStore) -> list[Example]:
    """Of the held-out windows the clearest difference between genotypes that is predicted right, and the clearest that is not."""
    table, model = results.predictions, results.roles.get("personal")
    if table is None or model not in table:
        return []
    held = table[table["cell"].astype(str).str.startswith("unseen_loci")].astype({"window": str, "donor": str})
    wide = held.pivot_table(index="window", columns="donor", values=["observed", model]).apply(np.log1p)
    placed = {str(name): place for place, name in enumerate(store.windows["name"])}
    chosen = store.windows[store.windows["name"].astype(str).isin(wide.index)]
    ranked = chosen.sort_values("score", ascending=False, kind="stable").head(MOST_SEARCHED)
    found = [one for name in ranked["name"].astype(str) for one in _slopes(store, placed[name], name, wide, str(model))]
    right = [one for one in found if one.observed * one.predicted > 0]
    wrong = [one for one in found if one.observed * one.predicted <= 0]
    kinds = ((right, "the largest effect that is predicted in the right direction"), (wrong, "the largest failure"))
    return [replace(max(of, key=lambda one: abs(one.clear)), what=what) for of, what in kinds if of]


def _slopes(store: HaplotypeStore, place: int, name: str, wide: pd.DataFrame, model: str) -> Iterator[Example]:
    """The clearest of a window's common alleles, where it divides enough donors."""
    alleles = store.common_alleles(place, SPAN)
    if not alleles:
        return
    present, copies = store.copies(place)
    signal = wide.loc[name]
    donors = [str(donor) for donor in signal["observed"].dropna().index if str(donor) in set(store.donors)]
    places = [store.donor(donor) for donor in donors]
    observed, predicted = (signal[column][donors].to_numpy(float) for column in ("observed", model))
    best = None
    for allele in alleles:
        carried = copies[int(np.flatnonzero(present == allele)[0])][places].astype(float)
        if min((carried > 0).sum(), (carried == 0).sum()) < FEWEST_DONORS:
            continue
        away = carried - carried.mean()
        slope, other = (float(away @ values / (away @ away)) for values in (observed, predicted))
        rest = observed - observed.mean() - slope * away
        error = float(np.sqrt(rest @ rest / max(len(donors) - 2, 1) / (away @ away)))
        one = Example(place, name, allele, slope, slope / (error or np.inf), other)
        best = one if best is None or abs(one.clear) > abs(best.clear) else best
    if best is not None:
        yield best


def _by_allele(
    results: Results, section: Section, counts: CountsStore, store: HaplotypeStore, example: Example
) -> None:
    locus = _shown(results, _with_allele(counts, store, example.place, example.allele))
    if locus is None:
        return
    predicted = _predictions(results, locus)
    slug = re.sub(
        r"[^A-Za-z0-9]+", "-", f"{example.name}-{'right' if example.observed * example.predicted > 0 else 'wrong'}"
    )
    section.show(_tracks(slug, locus, predicted, None))
    section.show(_quantities(predicted))


def _held_out_examples(results: Results, store: HaplotypeStore) -> list[str]:
    """Windows of the test folds with the highest score where donors differ."""
    windows = store.windows
    ranked = windows[windows["fold"].isin(results.test_folds or [0])].sort_values(
        "score", ascending=False, kind="stable"
    )
    varied = (str(name) for place, name in ranked["name"].items() if store.common_alleles(int(str(place)), SPAN))
    return [name for name, _ in zip(varied, range(MOST_LOCI), strict=False)]


def _one_locus(
    results: Results,
    section: Section,
    name: str,
    saturated: pd.DataFrame | None,
    stores: tuple[CountsStore, HaplotypeStore] | None,
) -> None:
    slug = re.sub(r"[^A-Za-z0-9]+", "-", name)
    snvs = None if saturated is None else saturated[saturated["alt"].isin(BASES) & saturated["ref"].isin(BASES)]
    locus = None if stores is None else _locus(*stores, name, snvs)
    locus = locus and _shown(results, locus)
    if locus is not None:
        predicted = _predictions(results, locus)
        section.show(_tracks(slug, locus, predicted, snvs))
        section.show(_quantities(predicted))
    if snvs is not None and not snvs.empty:
        section.show(
            tracks.saturation(
                f"saturation-{slug}",
                f"Saturation mutagenesis of {name}",
                f"{_place(snvs)}. Letters: minus the mean effect of changing the base, so a tall letter raises activity and one below the "
                "line lowers it. Squares: effect of each new base (log2), red increases activity, blue decreases it; the blank square is the reference base.",
                snvs,
            )
        )


def _place(snvs: pd.DataFrame) -> str:
    return f"{snvs['chrom'].iloc[0]}:{snvs['pos'].min():,}–{snvs['pos'].max():,}"


def _locus(counts: CountsStore, store: HaplotypeStore, name: str, snvs: pd.DataFrame | None) -> Locus | None:
    """The window of this name with its signal, and the common allele near its centre that models expect to matter most."""
    places = np.flatnonzero(store.windows["name"] == name)
    if not len(places):
        return None
    place = int(places[0])
    alleles = store.common_alleles(place, SPAN)
    if not alleles:
        return _with_allele(counts, store, place, None)
    candidates = store.variants.iloc[alleles]
    best = int(np.argmax([_expected(row, snvs) for _, row in candidates.iterrows()]))
    return _with_allele(counts, store, place, alleles[best])


def _with_allele(counts: CountsStore, store: HaplotypeStore, place: int, allele: int | None) -> Locus:
    """A window with the signal of the donors of both stores, told apart by their copies of an allele of the store."""
    owner = counts.libraries["donor"].astype(str)
    donors = [donor for donor in store.donors if donor in set(owner)]
    member = (owner.to_numpy()[:, None] == np.array(donors)).astype(float)
    sizes = library_sizes(counts.libraries) @ member
    signal = np.einsum("lsb,ld->dsb", counts.profiles([place])[0], member) / sizes[:, None, None]
    window = store.windows.iloc[place]
    if allele is None:
        return Locus(window, donors, signal, "", None, _groups(np.zeros(len(donors), np.int64), ["all donors"]))
    variant = store.variants.iloc[allele]
    found, copies = store.copies(place)
    carried = copies[int(np.flatnonzero(found == allele)[0]), [store.donor(donor) for donor in donors]]
    ref, alt = _short(str(variant["ref"])), _short(str(variant["alt"]))
    labels = [f"{ref}/{ref}", f"{ref}/{alt}", f"{alt}/{alt}"]
    return Locus(
        window,
        donors,
        signal,
        f"{variant['chrom']}:{variant['pos']:,} {ref}>{alt}",
        int(variant["pos"]),
        _groups(carried, labels),
    )


def by_genotype(results: Results, slug: str, variant: pd.Series) -> Figure | None:
    """Observed and predicted signal by genotype of a variant that donors of the run carry, in its window; else None."""
    if results.stores is None:
        return None
    counts, store = results.stores
    known = store.variants
    same = (known["pos"] == variant["pos"]) & (known["ref"] == variant["ref"]) & (known["alt"] == variant["alt"])
    same &= known["chrom"].map(plain_contig) == plain_contig(str(variant["chrom"]))
    rows = np.flatnonzero(same)
    windows = store.windows
    around = windows["chrom"].map(plain_contig) == plain_contig(str(variant["chrom"]))
    around &= (windows["start"] < variant["pos"]) & (windows["end"] >= variant["pos"])
    if not len(rows) or not around.any():
        return None
    middle = (windows["start"] + windows["end"]) / 2
    place = int((middle - variant["pos"]).abs()[around].idxmin())
    if int(rows[0]) not in store.copies(place)[0]:
        return None
    locus = _shown(results, _with_allele(counts, store, place, int(rows[0])))
    if locus is None:
        return None
    return _tracks(slug, locus, _predictions(results, locus), None)


def _shown(results: Results, locus: Locus) -> Locus | None:
    """The locus as it may be drawn: in an anonymous report without genotypes of one donor alone, who could be known by it."""
    if not results.anonymous:
        return locus
    codes = locus.genotype.codes
    kept = np.flatnonzero(np.bincount(codes)[codes] > 1)
    if not len(kept):
        return None
    return replace(
        locus,
        donors=[locus.donors[at] for at in kept],
        signal=locus.signal[kept],
        genotype=locus.genotype[kept].remove_unused_categories(),
    )


def _groups(codes: NDArray[np.int64], labels: list[str]) -> "pd.Categorical[object]":
    """A label a donor; only labels that some donor has."""
    return pd.Categorical(np.array(labels, object)[codes], [labels[code] for code in np.unique(codes)])


def _expected(variant: pd.Series, snvs: pd.DataFrame | None) -> float:
    """Size of the effect that saturation found for this change; 0 for what is no single-nucleotide change."""
    if snvs is None:
        return 0.0
    same = (snvs["pos"] == variant["pos"]) & (snvs["ref"] == variant["ref"]) & (snvs["alt"] == variant["alt"])
    return float(snvs.loc[same, "effect"].abs().max()) if same.any() else 0.0


def _short(allele: str) -> str:
    return allele if len(allele) <= 6 else f"{allele[:4]}…{len(allele)}"


def _predictions(results: Results, locus: Locus) -> pd.DataFrame:
    """RPM observed and predicted, one row a donor: ``donor genotype observed`` and one column a model."""
    columns = {"donor": locus.donors, "genotype": locus.genotype}
    table = results.predictions
    if table is None:
        return pd.DataFrame(columns)
    roles = [results.roles[role] for role in ("personal", "clipnet", "reference") if role in results.roles]
    models = [name for name in dict.fromkeys(roles) if name in table][:MOST_MODELS]
    here = table[table["window"] == locus.window["name"]].astype({"donor": str}).set_index("donor")
    return pd.DataFrame(columns).join(here[["observed", *models]], on="donor")


def _quantities(predicted: pd.DataFrame) -> Table | None:
    """Mean of each genotype."""
    if "observed" not in predicted:
        return None
    groups = predicted.groupby("genotype", observed=True)
    table = groups.mean(numeric_only=True).assign(donors=groups.size()).reset_index().astype({"genotype": str})
    return Table("RPM by genotype, observed and predicted", table[["genotype", "donors", *table.columns[1:-1]]])


def _tracks(slug: str, locus: Locus, predicted: pd.DataFrame, snvs: pd.DataFrame | None) -> Figure:
    start, end = int(locus.window["start"]), int(locus.window["end"])
    centre, reach = (start + end) // 2, SPAN // 2 + FLANK
    if snvs is not None and not snvs.empty:
        centre, reach = int(snvs["pos"].min() + snvs["pos"].max()) // 2, int(np.ptp(snvs["pos"])) // 2 + 1 + FLANK
    first, last = max(start, centre - reach), min(end, centre + reach)
    what = f"by genotype at {locus.allele}" if locus.allele else "of all donors, who have one sequence here"
    return tracks.loci(
        f"locus-{slug}",
        f"{locus.window['name']}: initiation {what}",
        f"{locus.window['chrom']}:{first + 1:,}–{last:,}. 5′ ends, RPM at each base, mean of the donors of a genotype: plus strand up, minus strand "
        "down. Bars: RPM of the window, observed (points: donors) and predicted."
        + (" The dashed line is the variant." if locus.position else "")
        + (" Below: effect of every base change (log2), red increases activity." if snvs is not None else ""),
        locus.signal[:, :, first - start : last - start],
        first,
        locus.genotype,
        predicted,
        locus.position,
        snvs,
    )
