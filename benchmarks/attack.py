"""Training of the attack's classifier against the loop that decodes and resizes each epoch."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lora_forensics.core.attack.classifier import build_classifier, train_classifier
from lora_forensics.core.images.photos import image_files, to_tensor
from lora_forensics.core.specs import ATTACK_PRESETS, AttackSpec
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from .timing import fastest

IMAGES, NATIVE, SIDE, EPOCHS, REPEATS = 32, 512, 224, 2, 2


def write_images(root: Path, per_class: int) -> None:
    """Smooth random PNG files of two classes, as an image generator would leave them."""
    rng = np.random.default_rng(0)
    for label in "01":
        (root / label).mkdir()
        for i in range(per_class):
            small = Image.fromarray(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8))
            large = small.resize((NATIVE, NATIVE), Image.Resampling.BICUBIC)
            large.save(root / label / f"{i:03}.png")


def reference_loop(root: Path, device: str) -> None:
    """ImageFolder, torchvision's transforms, DataLoader, Adam."""
    steps = [
        transforms.Resize((SIDE, SIDE)),
        transforms.CenterCrop(SIDE),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    data = datasets.ImageFolder(str(root), transform=transforms.Compose(steps))
    model = build_classifier().to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for x, y in DataLoader(data, batch_size=32, shuffle=True):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
            optimiser.step()


def ours(root: Path, spec: AttackSpec, device: str) -> None:
    """Files are decoded and resized once, then trained on; decoding counts."""
    arms = []
    for label in "10":
        files = image_files(root / label)
        arms.append(torch.stack([to_tensor(Image.open(f, formats=("PNG",))) for f in files]))
    train_classifier(arms[0], arms[1], spec, 0, device=device)


def run() -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and rows of the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    same = {"epochs": EPOCHS, "side": SIDE}
    paper, better = (replace(ATTACK_PRESETS[k], **same) for k in ("paper", "recommended"))
    specs = {
        "paper": paper,
        "paper, bfloat16": replace(paper, precision="bfloat16"),
        "recommended": better,
        "recommended, bfloat16": replace(better, precision="bfloat16"),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root, IMAGES // 2)
        reference = fastest(lambda: reference_loop(root, device), REPEATS)
        for name, spec in specs.items():
            trained = (1 - spec.holdout) * IMAGES * EPOCHS
            seconds = fastest(lambda spec=spec: ours(root, spec, device), REPEATS)
            theirs, mine = IMAGES * EPOCHS / reference, trained / seconds
            rows.append([name, f"{theirs:.1f}", f"{mine:.1f}", f"{mine / theirs:.2f}"])
    head = ["protocol", "reference loop, images/s", "ours, images/s", "ratio"]
    title = f"Training the attack ({IMAGES} PNGs of {NATIVE} px, {EPOCHS} epochs at {SIDE} px)"
    return title, head, rows
