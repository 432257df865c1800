"""Settings of a calibration study; flags derive from them."""

from __future__ import annotations

from dataclasses import dataclass

from ...specs import Spec, setting

QUALITIES = ("clean", "jpeg", "mixed")


@dataclass(frozen=True, kw_only=True)
class CalibrationSpec(Spec):
    """Which adapters are trained, and how each is examined.

    Ranks, steps and qualities need the same number of levels: their combinations form a Latin
    square, one per set size and truth. Several learning rates form a second one, orthogonal to it.
    """

    ranks: tuple[int, ...] = setting((4, 8, 16), "ranks of the adapters", low=1, high=1024)
    steps: tuple[int, ...] = setting((40, 120, 500), "optimiser steps", low=1, high=10**7)
    learning_rates: tuple[float, ...] = setting(
        (3e-4, 5e-4, 8e-4), "AdamW step sizes; one for all, or as many as ranks", low=1e-9, high=1.0
    )
    sizes: tuple[int, ...] = setting((4, 8, 16, 32), "training photos of a case", low=2, high=9999)
    qualities: tuple[str, ...] = setting(QUALITIES, "image qualities", choices=QUALITIES)
    partial_size: int = setting(
        16, "photos of the cases where half of the asked ones were used; 0 = none", low=0, high=9999
    )
    batch: int = setting(8, "rows in one training step", low=1, high=4096)
    controls: int = setting(40, "controls per case", low=10, high=10_000)
    placebos: int = setting(19, "adapters of other cases as null models", low=1, high=999)
    noise_nulls: int = setting(19, "adapters of noise as null models", low=0, high=999)
    noises: int = setting(4, "noise draws per timestep", low=1, high=1024)
    null_noises: int = setting(1, "noise draws per timestep under null models", low=1, high=1024)
    signals: str = setting(
        "standard",
        "white-box signals; deep adds the costly ones",
        choices=("quick", "standard", "deep"),
    )
    images: int = setting(60, "images of an extraction", low=2, high=100_000)
    pilot_images: int = setting(16, "images per pilot weight", low=4, high=10_000)
    solver_steps: int = setting(20, "solver steps per image", low=1, high=1000)
    attack_images: int = setting(64, "images per arm of the attack", low=4, high=100_000)
    attack_epochs: int = setting(4, "epochs of the attack", low=1, high=1000)
    attack_seeds: int = setting(3, "classifier seeds of the attack", low=1, high=100)
    seed: int = setting(900_000, "of design, photos, training and noise", low=0, high=2**31 - 1)
