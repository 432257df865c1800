"""Hosts of the headless kind: model families read from disk and run without ComfyUI."""
