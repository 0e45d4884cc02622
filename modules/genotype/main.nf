include { EXTRACT_HAPLOTYPES } from './extract_haplotypes.nf'
include { GENOTYPE_REPORT } from './genotype_report.nf'
include { CALL_ALLELIC_WINDOWS } from './call_allelic_windows.nf'

// Phased genotypes → the store of unique haplotypes, and its report. A user-provided store is taken as it is. Where
// libraries have allelic reads, the haplotypes' imbalance in each window.
workflow GENOTYPE {
    take:
    windows
    variants
    genome
    donors    // only theirs are extracted; an empty list: everyone's
    counts    // store of the same windows
    given     // a haplotype store, or null
    tools

    main:
    EXTRACT_HAPLOTYPES(given ? channel.empty() : windows, variants, genome, donors, tools.extract_haplotypes)
    haplotypes = given ? channel.value(file(given, checkIfExists: true)) : EXTRACT_HAPLOTYPES.out.haplotypes
    GENOTYPE_REPORT(haplotypes, tools.genotype_report)
    told_apart = counts.filter { store -> store.resolve('allelic.npy').exists() }
    CALL_ALLELIC_WINDOWS(told_apart, haplotypes, tools.call_allelic_events)

    emit:
    haplotypes = haplotypes
    results    = haplotypes.mix(GENOTYPE_REPORT.out.qc).map { path -> ['genotype', path] }
        .mix(CALL_ALLELIC_WINDOWS.out.events.map { path -> ['procap/alleles', path] })
    records    = EXTRACT_HAPLOTYPES.out.records.mix(GENOTYPE_REPORT.out.records, CALL_ALLELIC_WINDOWS.out.records)
}
