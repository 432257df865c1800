"""Synthetic cases with realistic numbers, one for each verdict."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from lora_forensics.core.report.twin import plain
from lora_forensics.core.verdicts.case import SCHEMA_VERSION, LookAlike, Reason
from lora_forensics.core.verdicts.letters import LETTERS as LETTER_WORDS
from PIL import Image, ImageDraw
from report_findings import (
    attack_of,
    comparison_of,
    decoys_of,
    known_rates_of,
    membership_of,
    probe_of,
)

LETTERS = ("A", "B", "C", "D", "ERROR")
SHIFT = {"A": 1.9, "B": 1.2, "C": 0.8, "D": 0.1, "ERROR": 0.0}
ALIKE = (
    "met",
    "Blind probe: photos and controls cannot be told apart without the model (out-of-fold AUC "
    "0.51, p = 0.44).",
)
REASONS = {
    "A": (
        (
            "decisive",
            "The model knows the photos better than exchangeable controls (p = 0.0001).",
        ),
        (
            "measured",
            "White-box: AUC 0.955 (0.897 to 0.981), effect +2.36 sd (+1.87 to +2.84), "
            "permutation p = 0.0001 (smallest possible 0.0001).",
        ),
        (
            "found",
            "Secondary line found a difference: extraction, AUC 0.945 (0.855 to 0.999), "
            "Holm-adjusted p = 0.0002.",
        ),
        (
            "not_found",
            "Secondary line found none: attack, AUC 0.803 (0.713 to 0.893), Holm-adjusted "
            "p = 0.31.",
        ),
        ALIKE,
        ("measured", "Null models: rank p = 0.05 among 19 (floor 0.05)."),
    ),
    "B": (
        ("met", "the adapter was applied: 192 of 192 modules, output changed"),
        (
            "met",
            "photos and controls look alike without the model (blind-probe AUC 0.55, p = 0.21)",
        ),
        ("not_met", "controls are not declared exchangeable, so A is out of reach"),
        ("met", "rank among 19 null models p = 0.05"),
    ),
    "C": (
        ("met", "the adapter was applied: 192 of 192 modules, output changed"),
        ("not_met", "the blind probe tells the sets apart without the model (AUC 0.78)"),
    ),
    "D": (
        (
            "decisive",
            "The declared test found no difference (p = 0.31); an AUC of 0.53 would need 310 "
            "photos.",
        ),
        (
            "measured",
            "White-box: AUC 0.531 (0.441 to 0.621), effect +0.10 sd (-0.22 to +0.43), "
            "permutation p = 0.31 (smallest possible 0.0001).",
        ),
        ALIKE,
        ("not_run", "No trained null models were run; verdict B was out of reach."),
    ),
    "ERROR": (("cause", "ERROR/NOT_APPLIED: 0 of 192 modules of the adapter fit this base model"),),
}


def make_case(letter: str, root: Path) -> dict[str, Any]:
    """The case as the plain dict of its JSON twin, with pictures written below `root`."""
    rng = np.random.default_rng(7)
    photos = [_item(i + 1, "photo", root) for i in range(20)]
    controls = [_item(i + 1, "control", root) for i in range(120)]
    shift = SHIFT[letter]
    failed = letter == "ERROR"
    case = {
        "case_id": f"2026-11-21-demo-{letter}",
        "created": "2026-11-21T18:04:11Z",
        "command": "lora-forensics screen suspect.safetensors --photos mine/ --controls others/",
        "tool": {"lora-forensics": "0.1.0", "torch": "2.13.0", "python": "3.11.9", "commit": ""},
        "models": {
            "base": {"name": "stable-diffusion-v1-5", "sha256": _hash("base")},
            "adapter": {"name": "suspect_lora_v3.safetensors", "sha256": _hash("lora")},
        },
        "settings": {
            "membership": {"timesteps": [50, 150, 250, 350, 450, 550, 650, 750], "seed": 0},
            "extract": {"images": 200, "guidance": "model", "seed": 0},
            "attack": {"images": 200, "seeds": 5, "seed": 1},
        },
        "prompts": ["photo of sks person", "portrait of sks person, studio light"],
        "prompts_from": "file metadata (claimed)",
        "exchangeable": letter in "AD",
        "photos": photos,
        "controls": controls,
        "duplicates_dropped": ["controls/IMG_2210.jpg is the same picture as photos/IMG_0004.jpg"],
        "inspection": _inspection(rng),
        "look_alikes": () if failed else (_twin(root),),
        "probe": None if failed else probe_of(letter),
        "membership": None if failed else membership_of(rng, shift, nulls=letter != "D"),
        "extraction": None if failed else _extraction(rng, shift, photos, root),
        "attack": None if failed else attack_of(rng, shift),
        "verdict": {
            "letter": letter,
            "headline": LETTER_WORDS[letter].headline,
            "reasons": [Reason(*r) for r in REASONS[letter]],
            "caveats": () if failed else _CAVEATS,
            "error_rates": () if failed else _RATES,
            "photos_needed": 310 if letter == "D" else 0,
        },
        "decoys": decoys_of() if letter == "A" else None,
        "canonical": ("one JPEG compression at quality 95, chroma at half resolution",),
        "known_rates": None if letter in ("D", "ERROR") else known_rates_of(letter),
        "forwards": 0 if failed else 41_920,
        "seconds": 3.2 if failed else 1268.4,
        "schema_version": SCHEMA_VERSION,
    }
    return plain(case)


_CAVEATS = (
    "That the controls are exchangeable with the photos is the user's statement.",
    "The black-box attack tells sources apart, not photos (published: AUC 0.53).",
    "Look-alikes and other data of the same source can produce B and C.",
    "Absence of signal is not absence of use: short training, defences, or edits can hide it.",
    "The verdict is about the set of photos, not about any single one.",
    "A person decides; this report is evidence for that decision, not the decision.",
)
_RATES = (
    "If the photos were not used and the controls are exchangeable, verdict A comes up by chance "
    "in at most 1% of cases, A or B in 5%.",
    "A single photo's p-value cannot fall below 1/121; no alarm among 120 controls bounds its "
    "false-alarm rate at 2.5% (95%).",
    "Share of photos above the 1% control threshold: 70% (51% to 89%); expected 1.7% without use.",
    "Share of photos above the 5% control threshold: 80% (61% to 99%); expected 5.8% without use.",
)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _face(seed: int, side: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    colours = [tuple(int(v) for v in rng.integers(40, 220, 3)) for _ in range(4)]
    image = Image.new("RGB", (side, side), colours[0])
    draw, s = ImageDraw.Draw(image), side / 64
    draw.ellipse((14 * s, 10 * s, 50 * s, 58 * s), fill=colours[1])
    draw.rectangle((16 * s, 6 * s, 48 * s, 18 * s), fill=colours[2])
    for x in (24, 36):
        draw.ellipse((x * s, 28 * s, (x + 5) * s, 33 * s), fill=colours[3])
    draw.arc((24 * s, 36 * s, 40 * s, 50 * s), 20, 160, fill=colours[3], width=max(1, int(2 * s)))
    return image


def _twin(root: Path) -> LookAlike:
    (root / "pictures").mkdir(parents=True, exist_ok=True)
    _face(3, 64).save(root / "pictures" / "twin-0000.png")
    return LookAlike(2, "twin.jpg", 0.93, set_aside=True, picture="pictures/twin-0000.png")


def _item(number: int, kind: str, root: Path) -> dict[str, Any]:
    picture = heat = ""
    if kind == "photo" and number <= 8:
        picture, heat = f"photos/{number:03d}.png", f"photos/heat-{number:03d}.png"
        (root / "photos").mkdir(parents=True, exist_ok=True)
        _face(number, 64).save(root / picture)
        _face(number + 100, 64).save(root / heat)
    return {
        "number": number,
        "name": f"{kind}_{number:04d}.jpg",
        "sha256": _hash(f"{kind}{number}"),
        "pixels_sha256": _hash(f"pixels {kind}{number}"),
        "width": 512,
        "height": 512,
        "format": "JPEG",
        "picture": picture,
        "heat": heat,
    }


def _inspection(rng: np.random.Generator) -> dict[str, Any]:
    names = [f"unet.down.{i}.attn.to_{k}" for i in range(12) for k in "qkv"]
    fall = np.exp(-np.arange(16) / rng.uniform(2, 7, (len(names), 1)))
    spectra = [
        {"component": "unet", "module": n, "kind": "lora", "rank": 16, "top": c.tolist()}
        for n, c in zip(names, fall, strict=True)
    ]
    return {
        "path": "/home/someone/loras/suspect_lora_v3.safetensors",
        "sha256": _hash("lora"),
        "tensor_sha256": _hash("tensors"),
        "format": "kohya",
        "family": "sd1",
        "modules": 264,
        "kinds": {"lowrank": 264},
        "ranks": {"16": 264},
        "claims": {
            "text": {"base_model": "v1-5-pruned.safetensors", "optimizer": "AdamW8bit"},
            "steps": 2000,
            "batch": 1,
            "images": 20,
            "regularization_images": 0,
            "datasets": [{"folder": "10_sks person", "images": 20, "repeats": 10}],
            "prompts": [{"text": "photo of sks person", "count": 20, "source": "captions"}],
            "trigger_words": ["sks"],
            "unreadable": [],
        },
        "exposure": {"passes": 100.0, "by_folder": {"10_sks person": 100.0}, "reading": "strong"},
        "stop_words": [],
        "spectra": spectra,
        "blocks": [
            {"component": "unet", "block": f"down.{i}", "modules": 12, "share": 0.25}
            for i in range(4)
        ],
        "text_encoder_share": 0.0,
        "coverage": [
            {
                "component": "unet",
                "matched": 264,
                "total": 264,
                "base_touched": 264,
                "base_total": 282,
            }
        ],
        "findings": [
            {
                "severity": 0,
                "subject": "sshs_model_hash",
                "message": "the tensors match the recorded hash",
                "evidence": "claimed 1f2e, computed 1f2e",
            },
            {
                "severity": 2,
                "subject": "rank",
                "message": "no module has the rank 32 that the metadata states",
                "evidence": "{16: 264}",
            },
        ],
    }


def _extraction(
    rng: np.random.Generator, shift: float, photos: list[dict[str, Any]], root: Path
) -> dict[str, Any]:
    (root / "images").mkdir(parents=True, exist_ok=True)
    extracted = []
    for i in range(8):
        file = f"images/{i:03d}.png"
        _face(i + 1, 64).rotate(3).save(root / file)
        extracted.append(
            {
                "file": file,
                "sha256": _hash(file),
                "seed": 18_000_123 + i,
                "prompt": "photo of sks person",
                "guidance": "model 2.0",
                "size": 14 - i if i < 6 else 1,
                "intra": 0.81 - 0.03 * i if i < 6 else 1.0,
                "nearest_photo": i if i < 7 else 12,
                "similarity": 0.86 - 0.05 * i,
                "control_similarity": 0.41 - 0.01 * i,
            }
        )
    return {
        "guidance": "model 2.0",
        "pilot": tuple({"scale": s, "score": 0.3 + 0.1 * s} for s in (1.25, 1.5, 2.0)),
        "images": 200,
        "tau": 0.6,
        "encoder": "sscd",
        "encoder_note": "SSCD finds copies of pictures; it does not recognise people.",
        "copy_threshold": 0.7,
        "lenient_threshold": 0.6,
        "extracted": tuple(extracted),
        "average_similarity": 0.52,
        "control_similarity": 0.37,
        "success_strict": 0.2,
        "success_lenient": 0.35,
        "control_success_strict": 0.0,
        "best_of_all": 0.58,
        "control_best_of_all": 0.4,
        "comparison": comparison_of(rng, shift * 1.2, 0.07, 0.4),
        "forwards": 16_000,
    }
