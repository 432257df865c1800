"""The published experiments run again, with the published values beside ours."""
