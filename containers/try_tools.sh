#!/usr/bin/env bash
# The tools on a tiny simulated cohort, by the Python of the argument: is all there? Numba compiles its kernels here, once for all runs.
set -euo pipefail
python=$(realpath -s "$1")
bin=$(realpath "$(dirname "$0")/../bin")
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
"$python" "$bin/run_tools.py" simulate_cohort.py --preset tiny --out simulated \
    --then procap_coverage.py --reads simulated/libraries/SIM0001_1.bam --umi RX --out-prefix SIM0001_1 \
    --then prepare_windows.py --windows simulated/elements.bed --fasta simulated/genome.fa --out windows.bed --out-summary windows.json \
    --then count_alleles.py --reads simulated/libraries/SIM0001_1.bam --vcf simulated/variants.vcf.gz --windows windows.bed \
    --library SIM0001_1 --donor SIM0001 --umi RX --out-prefix SIM0001_1 \
    --then match_donors.py --reads simulated/libraries/SIM0001_1.bam --vcf simulated/variants.vcf.gz --library SIM0001_1 \
    --donor SIM0001 --out SIM0001_1.donors.tsv \
    --then extract_haplotypes.py --vcf simulated/variants.vcf.gz --fasta simulated/genome.fa --windows windows.bed --flank 250 --out haplotypes \
    --then prepare_mpra.py --table simulated/lentimpra.cell1.tsv --name cell1 --out cell1.tsv \
    --then pretrain_legnet.py --table cell1.tsv --preset tiny --epochs 1 --batch-size 64 --test-fold 1 --validation-fold 2 --out model \
    --then score_variants.py --checkpoint model --variants simulated/truth/effects.tsv --kind truth --fasta simulated/genome.fa --out scores.tsv \
    2> log || { cat log >&2; echo "error: a tool does not run in this environment; the message above says why" >&2; exit 1; }
