"""Measurements of the tool itself: error rates, and the papers' experiments run again."""
