"""A cohort with a known truth: genome, people, PRO-cap libraries, MPRA and allele tables from one motif grammar."""
