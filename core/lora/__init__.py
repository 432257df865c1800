"""Reads adapter files: strict header, one normal form, binding to a base, inspection."""
