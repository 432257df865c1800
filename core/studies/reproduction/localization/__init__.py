"""The localisation paper's tables, run again at any scale."""
