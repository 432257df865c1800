"""What the demo measures, and its tables."""
