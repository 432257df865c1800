"""Photos: decoding, hashes, near-copies, heat maps, marks and captions."""
