"""GenVarLoader's side of ``haplotypes.py``; run by a Python that has genvarloader (0.43.1 was measured).

usage: haplotypes_genvarloader.py build|write|read|serve FOLDER
"""

import sys
import time
from pathlib import Path

import genvarloader as gvl
import numpy as np

step, folder = sys.argv[1], Path(sys.argv[2])
store, dataset = folder / "variants.svar2", folder / "dataset.gvl"
if step == "build":
    from genoray import SparseVar2

    SparseVar2.from_vcf(
        str(store), str(folder / "variants.vcf.gz"), reference=str(folder / "genome.fa"), overwrite=True
    )
elif step == "write":
    gvl.write(str(dataset), str(folder / "peaks.bed"), variants=str(store), overwrite=True)
elif step == "write-vcf":
    gvl.write(str(dataset), str(folder / "peaks.bed"), variants=str(folder / "variants.vcf.gz"), overwrite=True)
elif step in ("svar", "write-svar"):
    from genoray import VCF, SparseVar

    svar = folder / "variants.svar"
    if step == "svar":
        SparseVar.from_vcf(str(svar), VCF(str(folder / "variants.vcf.gz")), max_mem="2g", overwrite=True)
    else:
        gvl.write(str(dataset), str(folder / "peaks.bed"), variants=str(svar), overwrite=True)
else:
    data = gvl.Dataset.open(str(dataset), reference=str(folder / "genome.fa")).with_len(1000)
    data = data.with_seqs("haplotypes").with_tracks(False)
    regions, samples = data.shape
    order = np.arange(regions * samples)
    batch = 256
    if step == "serve":
        order, batch = np.random.default_rng(0).permutation(order), 32
    region, sample = np.unravel_index(order, (regions, samples))
    data[region[:batch], sample[:batch]]
    begin = time.perf_counter()
    for i in range(0, len(order), batch):
        np.asarray(data[region[i : i + batch], sample[i : i + batch]])
    print(f"{2 * len(order) / (time.perf_counter() - begin):.0f}")
