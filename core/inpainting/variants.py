"""Names of the variants of a photo, and of the splits of a set."""

ORIGINAL, SPLICED, REGENERATED = "original", "spliced", "regenerated"
ROUND_TRIP, WHOLE = "round_trip", "whole"
VARIANTS = (ORIGINAL, SPLICED, REGENERATED, ROUND_TRIP, WHOLE)
REPAINTED = frozenset({SPLICED, REGENERATED, WHOLE})
SPLITS = ("train", "val", "test")
NO_GENERATOR = "none"
