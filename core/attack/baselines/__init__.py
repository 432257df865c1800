"""Baselines of the black-box attack: one file each, all scoring alike; higher means member.

``BASELINES[name](reference, queries)`` gives ``[N]`` float64. The reference is rows of the images
that the model made (``zero_shot``: of two prompts; ``reconstruction``: of the images drawn from
each query's own caption); `base_calibrated` subtracts the same score under the base's images. The
attack of Zhang et al. (arXiv 2310.19410) is a preset of our own: ``ATTACK_PRESETS["zhang"]``.
"""

from __future__ import annotations

from .centroid import centroid_scores
from .evidence import BaselineEvidence, Scores, base_calibrated, baseline_evidence
from .gan_leaks import gan_leaks_cosine_scores, gan_leaks_scores
from .reconstruction import reconstruction_scores
from .set_membership import set_membership_scores
from .vectors import pixel_vectors
from .zero_shot import zero_shot_scores

BASELINES: dict[str, Scores] = {
    "centroid": centroid_scores,
    "zero_shot": zero_shot_scores,
    "gan_leaks": gan_leaks_scores,
    "gan_leaks_cosine": gan_leaks_cosine_scores,
    "set_membership": set_membership_scores,
    "reconstruction": reconstruction_scores,
}

__all__ = [
    "BASELINES",
    "BaselineEvidence",
    "Scores",
    "base_calibrated",
    "baseline_evidence",
    "pixel_vectors",
]
