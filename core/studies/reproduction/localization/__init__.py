"""The localization paper's tables, run again at any scale."""
