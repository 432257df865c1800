"""Tests, intervals and ratios: numbers in, numbers out, each checked against another library."""
