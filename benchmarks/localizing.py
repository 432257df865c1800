"""Localizing large pictures tile by tile against one pass over the whole enlarged picture.

Each row runs in a process of its own, so that its peak memory is its own; an idle one that has
loaded torch and the network takes about 0.5 GB of it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

SIZES = ((1000, 750), (2000, 1500), (4000, 3000))
WHOLE_LIMIT = 2_000  # pixels a side: beyond, one pass does not fit in 24 GB


def run() -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for width, height in SIZES:
        tiles = _measured("tiles", width, height)
        whole = _measured("whole", width, height) if width <= WHOLE_LIMIT else None
        row = [f"{width} x {height}", f"{tiles['tiles']:,}", *_spent(tiles)]
        if whole is None:
            rows.append([*row, "-", "-", "-"])
        else:
            rows.append([*row, *_spent(whole), f"{whole['peak'] / tiles['peak']:.1f}"])
    head = ["picture", "tiles", "tiled, s", "tiled, peak GB", "one pass, s", "one pass, peak GB",
            "memory, one pass / tiled"]  # fmt: skip
    return "Localizing a large picture (shipped Patches, one view)", head, rows


def _spent(told: dict[str, float]) -> list[str]:
    return [f"{told['seconds']:.1f}", f"{told['peak']:.2f}"]


def _measured(how: str, width: int, height: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.localizing", how, str(width), str(height)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(how: str, width: int, height: int) -> None:
    import numpy as np
    import torch
    from lora_forensics.core.localization.judging import judge
    from lora_forensics.core.localization.localizing import localize, tiles
    from lora_forensics.core.localization.settings import LocalizeSpec
    from lora_forensics.core.localization.shipped import load_shipped
    from lora_forensics.core.localization.views import normalized
    from PIL import Image

    torch.set_num_threads(1)
    localizer, spec = load_shipped(), LocalizeSpec(views=1)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    card = localizer.card
    localize(picture.crop((0, 0, 64, 64)), localizer, spec)
    start = time.process_time()
    if how == "tiles":
        localize(picture, localizer, spec)
    else:
        size = (round(width * card.scale), round(height * card.scale))
        judge(localizer.network, normalized(picture.resize(size))[None])
    told = {
        "seconds": time.process_time() - start,
        "peak": _peak(),
        "tiles": len(tiles(picture, card.source_side, spec.overlap)),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
