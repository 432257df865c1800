"""Per-image membership signals; higher always means member. One file a family."""
