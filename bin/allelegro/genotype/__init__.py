"""Genotype-aware sequences: every donor's two haplotypes at every window, each distinct one kept once."""
