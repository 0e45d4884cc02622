include { EXTRACT_HAPLOTYPES } from './extract_haplotypes.nf'
include { GENOTYPE_REPORT } from './genotype_report.nf'

// Phased genotypes → the store of unique haplotypes, and its report. A user-provided store is taken as it is.
workflow GENOTYPE {
    take:
    windows
    variants
    genome
    donors    // only theirs are extracted; an empty list: everyone's
    given     // a haplotype store, or null
    tools

    main:
    EXTRACT_HAPLOTYPES(given ? channel.empty() : windows, variants, genome, donors, tools.extract_haplotypes)
    haplotypes = given ? channel.value(file(given, checkIfExists: true)) : EXTRACT_HAPLOTYPES.out.haplotypes
    GENOTYPE_REPORT(haplotypes, tools.genotype_report)

    emit:
    haplotypes = haplotypes
    results    = haplotypes.mix(GENOTYPE_REPORT.out.qc).map { path -> ['genotype', path] }
    records    = EXTRACT_HAPLOTYPES.out.records.mix(GENOTYPE_REPORT.out.records)
}
