"""Tests against a real ComfyUI on the CPU; a package, so that `server` here hides no other."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACK = "comfyui-lora-forensics"
"""What this checkout is called below custom_nodes."""
