"""Pure functions over frozen data: the forensic core."""

__version__ = "0.1.0"
