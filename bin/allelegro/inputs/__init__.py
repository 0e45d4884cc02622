"""Sheets, references and public datasets: what a run is given, checked before anything is computed."""
