"""What arXiv 2311.04584 printed, as far as known: specification localization.md, section 5."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """Per cent on Repaint-P2/CelebA-HQ; AP is of images."""

    iou: float
    pbca: float
    ap: float | None


TABLE: dict[tuple[str, str], Published] = {
    ("A", "gradcam"): Published(16.8, 83.1, 67.3),
    ("A", "patches"): Published(64.9, 96.7, 95.3),
    ("A", "attention"): Published(9.7, 83.4, 79.3),
    ("B", "gradcam"): Published(21.5, 85.1, 94.4),
    ("B", "patches"): Published(37.7, 79.8, 95.3),
    ("B", "attention"): Published(23.2, 86.3, 94.4),
    ("C", "gradcam"): Published(83.7, 96.8, None),
    ("C", "patches"): Published(84.5, 98.6, None),
    ("C", "attention"): Published(70.3, 97.6, None),
}
FOREIGN: dict[str, tuple[float, float]] = {
    "Patches, setup C": (84.5, 30.8),
    "PSCC, setup C": (89.0, 13.3),
    "TruFor": (23.1, 29.2),
    "Noiseprint": (18.2, 23.9),
    "MantraNet": (4.8, 25.1),
    "HiFi-Net": (0.0, 2.6),
}
"""IoU on Repaint-P2/CelebA-HQ, and on COCO Glide, which none of them was trained on."""
