"""Tests against a real ComfyUI on the CPU; a package, so that `server` here hides no other."""
