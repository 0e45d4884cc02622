"""Read a results folder; what a run did not make is ``None``, so that the report can say so."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.metrics import METRIC_COLUMNS, read_metrics
from allelegro.io.tables import COUNT, GUESS, NUMBER, TEXT, WHOLE, Kind, maybe, read_table
from allelegro.procap.counts import CountsStore
from allelegro.report.anonymous import Pseudonyms, pseudonyms_of
from allelegro.report.report import MEMBERS

# Columns that hold names, which are text whatever they look like; all others of a run's own tables show their kind.
_NAMES = (
    "library", "donor", "candidate", "best_donor", "library_1", "library_2", "donor_1", "donor_2", "window", "chrom", "id",
    "group", "model", "ref", "alt", "allele", "base", "status", "reason", "view", "gene", "effect_by_seed", "best_model", "rsid",
    "motif", "motif_change", "class",
)  # fmt: skip
# Of the table of scored variants.
_RANKED = {
    "chrom": TEXT, "pos": COUNT, "ref": TEXT, "alt": TEXT, "rank": maybe(NUMBER), "best_score": maybe(NUMBER),
    "best_model": TEXT, "status": TEXT, "reason": TEXT,
}  # fmt: skip


@dataclass
class Training:
    """One training: its model, which member (fold and seed) of it, configuration (``model.json``) and learning curve."""

    model: str
    member: str
    config: dict[str, Any]
    history: pd.DataFrame

    @property
    def name(self) -> str:
        """Model and member, as the figures name it."""
        return MEMBERS.join(filter(None, (self.model, self.member)))


@dataclass
class Results:
    """A results folder in the layout of ``docs/output.md``; ``anonymous`` without the names of donors and libraries."""

    folder: Path
    anonymous: bool = False

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such results folder; give the --outdir of a run")
        stages = [name for name in ("inputs", "procap", "genotype", "training", "effects") if self.path(name).is_dir()]
        if not stages:
            raise DataError(
                f"{self.folder}: holds none of inputs, procap, genotype, training, effects; not a results folder"
            )

    def path(self, *parts: str) -> Path:
        """A path below the results folder."""
        return self.folder.joinpath(*parts)

    def table(self, *parts: str) -> pd.DataFrame | None:
        """A TSV of the run, or None when the run did not make it."""
        path = self.path(*parts)
        return self._table(path) if path.is_file() else None

    def document(self, *parts: str) -> Any:
        """A JSON document of the run, or None."""
        path = self.path(*parts)
        if not path.is_file():
            return None
        try:
            return self._hidden(json.loads(path.read_text(encoding="utf-8")))
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path} line {error.lineno}: not valid JSON; the file is damaged, run its stage again"
            ) from None

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Every tidy metric of the run, one table."""
        # A task's inputs are links: folders behind them are followed.
        paths = [
            Path(folder) / name
            for folder, _, names in os.walk(self.folder, followlinks=True)
            if "report" not in Path(folder).relative_to(self.folder).parts
            for name in sorted(names)
            if name == "metrics.tsv" or name.endswith(".metrics.tsv")
        ]
        return read_metrics(sorted(paths)) if paths else pd.DataFrame(columns=METRIC_COLUMNS)

    @cached_property
    def stages(self) -> list[tuple[str, bool, str]]:
        """Name of each stage, whether the run had it, and why not; empty where the pipeline did not say."""
        table = self.table("pipeline_info", "stages.tsv")
        if table is None:
            return []
        columns = table["stage"], table["runs"] == "yes", table["why_not"].fillna("")
        return [(str(name), bool(runs), str(why)) for name, runs, why in zip(*columns, strict=True)]

    @cached_property
    def library_qc(self) -> list[dict[str, Any]]:
        """The coverage step's JSON of every library."""
        found = [self.document("procap", "coverage", path.name) for path in self._files("procap/coverage/*.qc.json")]
        return sorted(found, key=lambda qc: str(qc["library"])) if self.anonymous else found

    @cached_property
    def date(self) -> datetime:
        """When the run started, by the file of its parameters; where there is none, when its last metrics were written."""
        parameters = self.path("pipeline_info", "params.json")
        written = [parameters] if parameters.is_file() else [*self._files("**/*metrics.tsv"), self.folder]
        return datetime.fromtimestamp(max(path.stat().st_mtime for path in written))

    @cached_property
    def scores_only(self) -> bool:
        """Whether variants were scored and nothing else was done: no cohort, no training."""
        made = any(self.path(stage).is_dir() for stage in ("procap", "genotype", "training"))
        return not made and self.path("effects").is_dir()

    @cached_property
    def windows(self) -> pd.DataFrame | None:
        """The windows of the run."""
        return self.table("procap", "windows.bed")

    @cached_property
    def haplotypes(self) -> dict[str, Any] | None:
        """Metadata of the haplotype store."""
        document: dict[str, Any] | None = self.document("genotype", "haplotypes", "metadata.json")
        return document

    @cached_property
    def truth(self) -> dict[str, Any] | None:
        """The known truth, when the cohort was simulated."""
        document: dict[str, Any] | None = self.document("inputs", "simulated", "truth.json")
        return document

    @cached_property
    def pretrained(self) -> list[Training]:
        """Models trained on lentiMPRA."""
        return self._trainings("training/pretrained")

    @cached_property
    def finetuned(self) -> list[Training]:
        """Models trained on PRO-cap."""
        return self._trainings("training/finetuned")

    @cached_property
    def roles(self) -> dict[str, str]:
        """Name of the model in each role: ``personal reference shuffled scratch clipnet lentimpra``.

        Read from what each checkpoint says of itself; ``lentimpra`` is the pretrained model as variants are scored by it.
        """
        roles: dict[str, str] = {}
        for model in self.finetuned:
            training = model.config["training"]
            if model.config["architecture"] == "clipnet":
                role = "clipnet" if training["genotypes"] == "personal" else f"clipnet_{training['genotypes']}"
            else:
                role = training["genotypes"] if training["genotypes"] != "personal" or training["init"] else "scratch"
            roles.setdefault(role, model.model)
        if "personal" not in roles and "scratch" in roles:
            roles["personal"] = roles["scratch"]  # a run without pretraining
        if self.pretrained:
            roles["lentimpra"] = f"pretrained_{self.pretrained[0].model}"
        return roles

    @cached_property
    def test_folds(self) -> list[int]:
        """The folds that some fine-tuning held out for testing."""
        folds = {model.config["training"].get("test_fold") for model in self.finetuned}
        return sorted(fold for fold in folds if fold is not None)

    @cached_property
    def test_donors(self) -> list[str]:
        """The donors that every fine-tuning held out."""
        return list(self.finetuned[0].config["training"].get("test_donors", [])) if self.finetuned else []

    @cached_property
    def donors(self) -> list[str]:
        """The donors of the haplotype store."""
        return list((self.haplotypes or {}).get("donors", []))

    @cached_property
    def test_loci(self) -> int:
        """Windows in the test folds."""
        return 0 if self.windows is None else int(self.windows["fold"].isin(self.test_folds).sum())

    @cached_property
    def stores(self) -> tuple[CountsStore, HaplotypeStore] | None:
        """Counts and haplotypes, None when either is missing or has no bases; DataError when their windows differ."""
        if self.haplotype_store is None or not self.path("procap", "counts", "metadata.json").is_file():
            return None
        counts = CountsStore.open(self.path("procap", "counts"))
        if not counts.resolved:  # loci are drawn base by base
            return None
        self.haplotype_store.check_windows(counts.windows)
        if self.anonymous:
            counts.libraries = counts.libraries.map(self._hidden)
        return counts, self.haplotype_store

    @cached_property
    def haplotype_store(self) -> HaplotypeStore | None:
        """The haplotype store, or None where only its metadata is here."""
        folder = self.path("genotype", "haplotypes")
        if not (folder / "windows.bed").is_file():
            return None
        store = HaplotypeStore(folder)
        store.donors = self._hidden(store.donors)
        return store

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """Observed and predicted signal per window and donor."""
        path = self.path("training", "evaluation", "predictions.parquet")
        if not path.is_file():
            return None
        table = pd.read_parquet(path)
        return self._pseudonyms.table(table) if self.anonymous else table

    @cached_property
    def benchmark_points(self) -> dict[str, pd.DataFrame]:
        """The variants behind each benchmark, by dataset."""
        return self._benchmarks(".points.tsv.gz")

    @cached_property
    def benchmark_curves(self) -> dict[str, pd.DataFrame]:
        """The curves of each benchmark (``model curve x y``), by dataset."""
        return self._benchmarks(".curves.tsv")

    @cached_property
    def scoring_costs(self) -> list[dict[str, Any]]:
        """What scoring a variant set with a model cost: one record a set and model, the set's name added."""
        records = [
            (path, self.document("effects", "scores", path.name)) for path in self._files("effects/scores/*.cost.json")
        ]
        return [record | {"set": path.name.removesuffix(f".{record['model']}.cost.json")} for path, record in records]

    @cached_property
    def dropped_variants(self) -> dict[tuple[str, str], Counter[str]]:
        """Variants that a model did not score, counted by status, by set and model."""
        counts: dict[tuple[str, str], Counter[str]] = {}
        for path in self._files("effects/scores/*.counts.tsv"):
            table = self._table(path)
            for model, rows in table[~table["status"].isin(["scored", "seen"])].groupby("model", sort=False):
                found = Counter(dict(zip(rows["status"], rows["variants"], strict=True)))
                counts[path.name.removesuffix(".counts.tsv"), str(model)] = found
        return counts

    @cached_property
    def scored_sets(self) -> dict[str, pd.DataFrame]:
        """One row a variant of each set that was given to be scored, the first by ``rank`` first, those without a score last."""
        suffix = ".variants.tsv"
        files = self._files(f"effects/scores/*{suffix}")
        tables = {path.name.removesuffix(suffix): self._table(path, _RANKED) for path in files}
        return {name: table.sort_values("rank", kind="stable", ignore_index=True) for name, table in tables.items()}

    @cached_property
    def sign_calibrations(self) -> dict[str, pd.DataFrame]:
        """Probabilities of a right sign against shares of right signs (``model class bin predicted observed n``), by set."""
        suffix = ".calibration.tsv"
        files = self._files(f"effects/scores/*{suffix}")
        return {path.name.removesuffix(suffix): self._table(path) for path in files}

    @cached_property
    def allelic_counts(self) -> list[dict[str, Any]]:
        """What counting the reads of each haplotype said of every library."""
        return [self.document("procap", "alleles", path.name) for path in self._files("procap/alleles/*.alleles.json")]

    @cached_property
    def allelic_events(self) -> pd.DataFrame | None:
        """Heterozygous SNVs whose alleles donors read unequally, where the run counted alleles."""
        return self.table("procap", "alleles", "allelic_events.tsv")

    @cached_property
    def allelic_windows(self) -> pd.DataFrame | None:
        """Windows whose two haplotypes donors read unequally, where the run counted alleles."""
        return self.table("procap", "alleles", "allelic_windows.tsv")

    @cached_property
    def importance(self) -> dict[str, pd.DataFrame]:
        """Importance of each base around the top variants of a set, in both alleles, by set."""
        suffix = ".importance.tsv"
        files = self._files(f"effects/importance/*{suffix}")
        return {path.name.removesuffix(suffix): self._table(path) for path in files}

    def _benchmarks(self, suffix: str) -> dict[str, pd.DataFrame]:
        files = self._files(f"effects/benchmarks/*{suffix}")
        return {path.name.removesuffix(suffix): self._table(path) for path in files}

    def _files(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(pattern))

    def _trainings(self, folder: str) -> list[Training]:
        """Checkpoints directly below the folder, and those of members one level further down."""
        found = []
        for path in self._files(f"{folder}/*/model.json") + self._files(f"{folder}/*/*/model.json"):
            model, *member = path.parent.relative_to(self.path(folder)).parts
            config = self._hidden(json.loads(path.read_text(encoding="utf-8")))
            found.append(Training(model, "/".join(member), config, self._history(path.parent)))
        return found

    def _table(self, path: Path, columns: Mapping[str, Kind] | None = None) -> pd.DataFrame:
        names = {name: TEXT for name in _NAMES if name not in (columns or {})}
        table = read_table(path, columns or {}, optional=names, others=GUESS, allow_empty=True)
        return self._pseudonyms.table(table) if self.anonymous else table

    @cached_property
    def _pseudonyms(self) -> Pseudonyms:
        return pseudonyms_of(self.folder)

    def _hidden(self, value: Any) -> Any:
        return self._pseudonyms.document(value) if self.anonymous else value

    @staticmethod
    def _history(folder: Path) -> pd.DataFrame:
        path = folder / "history.tsv"
        return (
            read_table(path, {"epoch": WHOLE}, others=GUESS, allow_empty=True)
            if path.is_file()
            else pd.DataFrame({"epoch": []})
        )
