"""Many adapters of known truth through the whole pipeline: where known error rates come from."""
