"""Each genotype rule on a VCF made by hand; the right answer is written out."""

from pathlib import Path

import pytest

from allelegro.genotype.store import HaplotypeStore
from allelegro.io.dna import decode
from helpers.slow_haplotypes import PS, Cohort, Record, extract

#          0         1         2         3         4
#          0123456789012345678901234567890123456789
GENOME = "ACGTTGCAAGCTTACGGATCCATGACCTGATTTCAGGCTA"
WINDOW = (10, 20)  # CTTACGGATC, the centre is base 15: G
REFERENCE = "CTTACGGATC"


@pytest.fixture
def make(tmp_path: Path):
    def run(*records: Record, window: tuple[int, int] = WINDOW, header: str = "", **rules) -> HaplotypeStore:
        donors = [f"d{n}" for n in range(len(records[0].genotypes))]
        ordered = sorted(records, key=lambda record: record.pos)
        return extract(Cohort({"chr1": GENOME}, ordered, donors, [("chr1", *window)], header), tmp_path, **rules)

    return run


def both(store: HaplotypeStore, donor: int = 0) -> tuple[str, str]:
    first, second = store.haplotypes(0, donor)
    return decode(first), decode(second)


def dropped(store: HaplotypeStore) -> dict[str, int]:
    return {reason: n for reason, n in store.metadata["dropped"].items() if n}


def test_snv_on_the_right_haplotype(make) -> None:
    store = make(Record(12, "T", "G", ["0|1", "1|0", "1|1", "0|0"]))
    assert [both(store, d) for d in range(4)] == [
        (REFERENCE, "CGTACGGATC"),
        ("CGTACGGATC", REFERENCE),
        ("CGTACGGATC", "CGTACGGATC"),
        (REFERENCE, REFERENCE),
    ]
    assert store.offsets.tolist() == [0, 2]
    assert store.index.tolist() == [[[0, 1], [1, 0], [1, 1], [0, 0]]]


def test_mnv(make) -> None:
    assert both(make(Record(14, "ACG", "TTC", ["0|1"])))[1] == "CTTTTCGATC"


def test_insertion_right_of_the_centre_pushes_bases_out_at_the_end(make) -> None:
    assert both(make(Record(17, "G", "GAAA", ["0|1"])))[1] == "CTTACGGAAA"


def test_insertion_left_of_the_centre_pushes_bases_out_at_the_start(make) -> None:
    # CT AAA TAC|GGATC: the left half is the five bases before the centre
    assert both(make(Record(12, "T", "TAAA", ["0|1"])))[1] == "AATAC" + "GGATC"


def test_insertion_directly_before_the_centre_is_in_the_left_half(make) -> None:
    assert both(make(Record(15, "C", "CTT", ["0|1"])))[1] == "TACTT" + "GGATC"


def test_deletion_right_of_the_centre_refills_from_downstream(make) -> None:
    assert both(make(Record(17, "GAT", "G", ["0|1"])))[1] == "CTTACGGCCA"


def test_deletion_left_of_the_centre_refills_from_upstream(make) -> None:
    assert both(make(Record(12, "TTA", "T", ["0|1"])))[1] == "AGCTCGGATC"


def test_deletion_across_the_centre_keeps_both_halves_full(make) -> None:
    # bases 14-16 (CGG) are gone: left half GCTTA, right half from base 17
    assert both(make(Record(14, "ACGG", "A", ["0|1"])))[1] == "GCTTA" + "ATCCA"


def test_deletion_that_starts_before_the_window_takes_effect(make) -> None:
    """bcftools consensus on the window ignores it."""
    # bases 7-11 (AAGCT) are gone; left half is TTGC + TAC cut to five
    assert both(make(Record(7, "CAAGCT", "C", ["0|1"])))[1] == "GCTAC" + "GGATC"


def test_deletion_across_the_end_is_refilled(make) -> None:
    assert both(make(Record(19, "TCCATG", "T", ["0|1"])))[1] == "CTTACGGATA"


def test_refill_uses_the_donors_own_alleles(make) -> None:
    """The deletion pulls base 21, changed on this haplotype, into the window."""
    deletion, snv = Record(17, "GAT", "G", ["0|1"]), Record(21, "C", "G", ["0|1"])
    assert both(make(deletion, snv))[1] == "CTTACGGCGA"


def test_an_allele_pushed_out_of_the_window_makes_no_new_sequence(make) -> None:
    insertion, snv = Record(17, "G", "GAAA", ["1|1"]), Record(20, "C", "A", ["0|1"])
    store = make(insertion, snv)
    assert store.index.tolist() == [[[1, 1]]]
    assert len(store.sequences) == 2


def test_beyond_the_contig_stands_n(make) -> None:
    assert both(make(Record(3, "GTTG", "G", ["0|1"]), window=(0, 10)))[1] == "NNACG" + "CAAGC"


def test_insertion_anchored_on_the_last_deleted_base(make) -> None:
    """Both take effect: they touch, they do not overlap (GenVarLoader drops the insertion)."""
    deletion, insertion = Record(16, "GGA", "G", ["0|1"]), Record(18, "A", "AC", ["0|1"])
    store = make(deletion, insertion)
    assert both(store)[1] == "CTTACGCTCC"
    assert dropped(store) == {}


def test_snv_and_insertion_at_one_position_both_take_effect_in_either_order(make) -> None:
    snv, insertion = Record(17, "G", "T", ["0|1"]), Record(17, "G", "GCC", ["0|1"])
    assert both(make(snv, insertion))[1] == both(make(insertion, snv))[1] == "CTTACGTCCA"


def test_of_overlapping_alleles_the_first_takes_effect(make) -> None:
    deletion, snv = Record(16, "GGA", "G", ["0|1", "1|0"]), Record(18, "A", "C", ["0|1", "0|1"])
    store = make(deletion, snv)
    assert both(store, 0) == (REFERENCE, "CTTACGTCCA")
    assert both(store, 1) == ("CTTACGTCCA", "CTTACGGCTC")
    assert dropped(store) == {"overlapping": 1}


def test_overlap_is_judged_by_a_record_that_ended_before_the_window(make) -> None:
    """The first deletion removes the base that the second begins with, so the second has no effect in the window."""
    first, second = Record(3, "GTTGC", "G", ["0|1"]), Record(6, "GCAAGCT", "G", ["0|1"])
    assert both(make(first, second))[1] == REFERENCE


def test_two_insertions_at_one_point(make) -> None:
    store = make(Record(17, "G", "GA", ["0|1"]), Record(17, "G", "GCC", ["0|1"]))
    assert both(store)[1] == "CTTACGGAAT"
    assert dropped(store) == {"overlapping": 1}


def test_multi_allelic_record(make) -> None:
    """GenVarLoader refuses such a file."""
    store = make(Record(17, "GA", "G,GAC,CA", ["1|2", "3|0", "0|2"]))
    assert both(store, 0) == ("CTTACGGTCC", "CTTACGGACT")
    assert both(store, 1) == ("CTTACGCATC", REFERENCE)
    assert both(store, 2) == (REFERENCE, "CTTACGGACT")


def test_star_is_never_written_and_the_deletion_above_it_counts(make) -> None:
    """bcftools consensus and GenVarLoader write a literal asterisk."""
    deletion, site = Record(16, "GGA", "G", ["0|1"]), Record(18, "A", "*,T", ["2|1"])
    store = make(deletion, site)
    assert both(store) == ("CTTACGGTTC", "CTTACGTCCA")
    assert dropped(store) == {"star": 1}


def test_symbolic_deletion_is_applied(make) -> None:
    store = make(Record(16, "G", "<DEL>", ["0|1"], info="END=18"))
    assert both(store)[1] == "CTTACGTCCA"
    again = make(Record(16, "G", "<DEL:ME:ALU>", ["0|1"], info="SVTYPE=DEL;SVLEN=-2"))
    assert both(again)[1] == "CTTACGTCCA"


@pytest.mark.parametrize("alt", ["<INS>", "<DUP>", "<CN2>", "<NON_REF>", "G[chr1:30[", "]chr1:30]G"])
def test_other_symbolic_alleles_are_dropped_and_counted(make, alt: str) -> None:
    store = make(Record(16, "G", f"{alt},T", ["1|2"]))
    assert both(store) == (REFERENCE, "CTTACTGATC")
    assert dropped(store) == {"symbolic": 1}


def test_missing_and_half_missing_alleles_are_the_reference_and_counted(make) -> None:
    store = make(Record(16, "G", "T", [".|.", ".|1", "./.", "."]))
    assert both(store, 0) == both(store, 2) == both(store, 3) == (REFERENCE, REFERENCE)
    assert both(store, 1) == (REFERENCE, "CTTACTGATC")
    assert store.donor_counts["missing"].tolist() == [1, 0, 1, 1]
    assert store.donor_counts["half_missing"].tolist() == [0, 1, 0, 0]
    assert store.donor_counts["called"].tolist() == [0, 0, 0, 0]


def test_haploid_call_fills_both_places(make) -> None:
    store = make(Record(16, "G", "T", ["1", "0", "0|1"]))
    assert both(store, 0) == ("CTTACTGATC", "CTTACTGATC")
    assert both(store, 1) == (REFERENCE, REFERENCE)
    assert store.donor_counts["haploid"].tolist() == [1, 1, 0]


def test_unphased_homozygote_is_accepted(make) -> None:
    assert both(make(Record(16, "G", "T", ["1/1"]))) == ("CTTACTGATC", "CTTACTGATC")


def test_unphased_heterozygote_as_reference(make) -> None:
    store = make(Record(16, "G", "T", ["0/1", "0|1", "./1"]), unphased="reference")
    assert both(store, 0) == both(store, 2) == (REFERENCE, REFERENCE)
    assert both(store, 1) == (REFERENCE, "CTTACTGATC")
    assert store.donor_counts["unphased"].tolist() == [1, 0, 1]


def test_unphased_heterozygote_at_random_is_seeded_and_fair(make) -> None:
    records = [Record(16, "G", "T", ["0/1"] * 200)]
    stores = [make(*records, unphased="random", seed=seed).index.copy() for seed in (1, 1, 2)]
    assert (stores[0] == stores[1]).all()
    assert (stores[0] != stores[2]).any()
    assert (stores[0].sum(axis=-1) == 1).all(), "each donor carries the allele once"
    assert 70 < stores[0][0, :, 0].sum() < 130


def test_indels_skipped(make) -> None:
    records = Record(12, "T", "TA", ["0|1"]), Record(17, "GA", "G", ["0|1"]), Record(16, "G", "T", ["0|1"])
    store = make(*records, Record(14, "AC", "GT", ["0|1"]), indels="skip")
    assert both(store)[1] == "CTTGTTGATC"
    assert dropped(store) == {"indel": 2}


def test_reference_mismatch_skipped_and_counted(make) -> None:
    store = make(Record(12, "A", "G", ["0|1"]), Record(16, "G", "T", ["0|1"]), on_ref_mismatch="skip")
    assert both(store)[1] == "CTTACTGATC"
    assert dropped(store) == {"ref_mismatch": 1}


def test_lower_case_alleles(make) -> None:
    assert both(make(Record(16, "g", "t", ["0|1"])))[1] == "CTTACTGATC"


def test_indels_that_are_not_left_aligned_are_counted_and_right(make) -> None:
    aligned, shifted = Record(11, "CT", "C", ["0|1", "0|0"]), Record(12, "TT", "T", ["0|0", "0|1"])
    store = make(aligned, shifted)
    assert store.metadata["not_left_aligned"] == 1
    assert store.index.tolist() == [[[0, 1], [0, 1]]], "a sequence written in two ways is stored once"
    far = make(aligned, Record(12, "TTA", "TA", ["0|0", "0|1"]))
    assert both(far, 0)[1] == both(far, 1)[1] == "GCTACGGATC"
    assert far.metadata["not_left_aligned"] == 1


def test_phase_sets_that_change_inside_a_window_are_counted(make) -> None:
    records = [
        Record(12, "T", "G", ["0|1:11", "0|1:11", "0|1:11"], format="GT:PS"),
        Record(16, "G", "T", ["0|1:11", "0|1:99", "1|1:99"], format="GT:PS"),
    ]
    assert make(*records, header=PS).metadata["phase_set_changes"] == 1


def test_genotype_among_other_fields(make) -> None:
    store = make(Record(16, "G", "T", ["0|1:7", "1|0:3"], format="GT:DP"))
    assert store.index.tolist() == [[[0, 1], [1, 0]]]


def test_odd_width_and_width_one(make) -> None:
    assert both(make(Record(16, "G", "T", ["0|1"]), window=(15, 16))) == ("G", "T")
    # width 5, the centre is base 14; bases 13 and 14 are gone
    assert both(make(Record(13, "TAC", "T", ["0|1"]), window=(12, 17)))[1] == "TT" + "GGA"


def test_window_at_both_ends_of_the_contig(make) -> None:
    assert both(make(Record(1, "AC", "A", ["0|1"]), window=(0, 4)))[1] == "NAGT"
    assert both(make(Record(39, "TA", "T", ["0|1"]), window=(36, 40)))[1] == "GCTN"
    assert both(make(Record(1, "AC", "C", ["0|1"]), window=(0, 4)))[1] == "NCGT"
