"""One self-contained HTML that tells the story of a run, made from its results folder alone."""
