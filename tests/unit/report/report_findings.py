"""Synthetic findings of every line of evidence, with realistic numbers."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from lora_forensics.core.specs import VerdictSpec
from lora_forensics.core.statistics.tpr_at_fpr import tpr_at_fpr
from lora_forensics.core.verdicts.comparison import compare


def comparison_of(
    rng: np.random.Generator, shift: float, scale: float, at: float
) -> dict[str, Any]:
    """Twenty photos above 120 controls by so many standard deviations; p is small or it is not."""
    x = rng.normal(shift, 1.0, 20) * scale + at
    y = rng.normal(0.0, 1.0, 120) * scale + at
    rates = tuple(tpr_at_fpr(x, y, rate) for rate in (0.01, 0.05, 0.001))
    found = compare(x, y, VerdictSpec())
    test = replace(found.permutation, p=0.0001 if shift > 1 else 0.31)
    return asdict(replace(found, permutation=test, tpr=rates))


def probe_of(letter: str) -> dict[str, Any]:
    """The blind probe, which fails for C."""
    fails = letter == "C"
    return {
        "auc": 0.78 if fails else 0.51,
        "low": 0.66 if fails else 0.38,
        "high": 0.87 if fails else 0.64,
        "p": 0.001 if fails else 0.44,
        "n": 20,
        "m": 120,
        "fails": fails,
        "reason": "AUC above 0.60" if fails else "",
    }


def membership_of(rng: np.random.Generator, shift: float, *, nulls: bool) -> dict[str, Any]:
    """The white-box line with every optional part, or without null models."""
    t = np.array((50, 150, 250, 350, 450, 550, 650, 750))
    base = 0.32 * np.exp(-t / 260) + 0.012
    gain = 0.05 * np.exp(-(((t - 350) / 250) ** 2))
    comparison = comparison_of(rng, shift, 0.021, 0.034)
    return {
        "signal": "base_delta",
        "prompt": "photo of sks person",
        "timesteps": tuple(t.tolist()),
        "draws": 4,
        "comparison": comparison,
        "seed_effects": tuple((comparison["effect"] + rng.normal(0, 0.2, 4)).tolist()),
        "photo_curve": {
            "base": tuple(base.tolist()),
            "tuned": tuple((base * (1 - gain * (1 + shift))).tolist()),
        },
        "control_curve": {
            "base": tuple((base * 1.04).tolist()),
            "tuned": tuple((base * 1.04 * (1 - gain)).tolist()),
        },
        "base_only_auc": 0.52,
        "tuned_only_auc": 0.61,
        "noise_floor": 0.0041,
        "control_shift": 0.0339,
        "too_weak": False,
        "null_ranks": (_rank(rng, "noise"), _rank(rng, "placebo")) if nulls else (),
        "forwards": 17_920,
        "signals": signals_of(rng, shift),
        "left_out": (("reconstruction", "no embedding was given"),),
        "captions": {
            "aucs": {"paired": 0.71, "trigger": 0.52, "shuffled": 0.49, "generic": 0.5},
            "p": {"paired": 0.002, "trigger": 0.4, "shuffled": 0.6, "generic": 0.5},
            "dependent": True,
        },
        "usage": {
            "share": 0.87,
            "low": 0.61,
            "high": 1.0,
            "unclipped": 0.87,
            "called": 12,
            "n": 20,
            "tpr": 0.7,
            "fpr": 0.05,
            "level": 0.95,
            "method": "Jeffreys draws",
        },
    }


def _rank(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "value": 1.4,
        "nulls": tuple(rng.normal(0, 0.3, 19).tolist()),
        "p": 0.05,
        "floor": 0.05,
        "photo_p": tuple(rng.integers(1, 20, 20) / 20),
        "difference": {
            "difference": 0.21,
            "se": 0.05,
            "low": 0.11,
            "high": 0.31,
            "covariance": 0.001,
            "first": {"auc": 0.8, "method": "DeLong, logit scale"},
            "second": {"auc": 0.59, "method": "DeLong, logit scale"},
            "method": "DeLong, paired",
        },
        "note": "19 adapters given by the user" if kind == "placebo" else "",
    }


def attack_of(rng: np.random.Generator, shift: float) -> dict[str, Any]:
    """The black-box line."""
    return {
        "negatives": "base",
        "pretrained": False,
        "images": 200,
        "cfgs": (3.0,),
        "comparison": comparison_of(rng, shift * 0.4, 1.4, -0.6),
        "seed_aucs": (0.61, 0.58, 0.66, 0.63, 0.60),
        "seed_low": 0.578,
        "seed_high": 0.654,
        "heldout_accuracy": 0.972,
        "flagged_photos": 0.45,
        "flagged_controls": 0.31,
        "forwards": 8_000,
        "paper_low": 0.611,
        "paper_high": 0.621,
        "scores": "logits",
        "notes": ("The network started at random: no ImageNet weights were given.",),
    }


SIGNALS = (  # name, title, source, published, how far photos lie above controls
    (
        "sima_delta",
        "SimA, base-calibrated",
        "SimA (2509.25003) of the base minus tuned",
        False,
        0.9,
    ),
    ("fusion", "Fusion", "mean of three signals", False, 1.1),
    ("loss", "Loss, Monte Carlo", "Matsumoto et al.", True, 0.3),
    ("secmi", "SecMI-stat", "SecMI (2302.01316)", True, 0.4),
)


def signals_of(rng: np.random.Generator, shift: float) -> tuple[dict[str, Any], ...]:
    """Two signals of our own and two published ones."""
    return tuple(_signal(rng, shift, *one) for one in SIGNALS)


def _signal(
    rng: np.random.Generator,
    shift: float,
    name: str,
    title: str,
    source: str,
    published: bool,
    pull: float,
) -> dict[str, Any]:
    c = comparison_of(rng, shift * pull, 1.0, 0.0)
    return {
        "name": name,
        "title": title,
        "source": source,
        "published": published,
        "forwards": 16,
        "photo_scores": c["photo_scores"],
        "control_scores": c["control_scores"],
        "auc": c["auc"],
        "tpr": c["tpr"][1],
        "p": c["permutation"]["p"],
        "holm_p": min(1.0, 4 * c["permutation"]["p"]),
    }


def known_rates_of(letter: str) -> dict[str, Any]:
    """Rates of a study that this case lies outside of."""
    return {
        "study": "Ana's portraits, spring",
        "cases": {"guilty": 36, "innocent": 36},
        "outside": ["The rank of the adapter is 64, outside the calibrated 4 to 16."],
        "letters": [
            {"letter": one, "false_accusations": _share(k), "power": _share(hits)}
            for one, k, hits in (("A", 0, 26), ("B", 1, 3), ("C", 4, 2), ("D", 31, 5))
        ],
        "signals": [
            {"name": "primary", "title": "BaseRatio", "auc": 0.84, "low": 0.8, "high": 0.88},
            {"name": "attack", "title": "Black box", "auc": 0.55, "low": 0.5, "high": 0.6},
            {"name": "loss", "title": "Loss, Monte Carlo", "auc": 0.6, "low": 0.55, "high": 0.65},
        ],
        "p_uniform": [{"name": "permutation", "p": 0.41, "verdict": "uniform"}],
        "likelihood": likelihood_of(36.0) if letter == "A" else None,
    }


def likelihood_of(ratio: float) -> dict[str, Any]:
    """A likelihood ratio cut at 36 or at one over 36."""
    side = "Hp (used)" if ratio > 1 else "Hd (not used)"
    return {
        "lr": ratio,
        "log10": float(np.log10(ratio)),
        "low": ratio / 3,
        "high": 36.0 if ratio > 1 else ratio * 3,
        "cap": 36.0,
        "floor": 1 / 36,
        "capped": ratio >= 36,
        "verbal": f"moderate support for {side}",
        "cllr": 0.41,
    }


def decoys_of() -> dict[str, Any]:
    """The published variant is the highest of twenty."""
    return {
        "p": 0.05,
        "floor": 0.05,
        "k": 19,
        "kind": "mark",
        "commitment": "ab" * 32,
        "statistic": 3.1,
        "decoys": tuple(np.linspace(-1, 2, 19).tolist()),
        "contrast_only": False,
    }


def _share(hits: int) -> dict[str, Any]:
    return {"k": hits, "n": 36, "share": hits / 36, "low": hits / 40, "high": (hits + 3) / 40}
