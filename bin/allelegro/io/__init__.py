"""Files in and out: sheets, tables, BED, FASTA and atomic writing; each reader converts conventions once."""
