"""One module a stage: what the report says about it, in figures, tables and words."""
