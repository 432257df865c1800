"""The report of a case: one HTML file without script, its JSON twin, contact sheets."""
