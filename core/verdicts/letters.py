"""The letters of a verdict: their fixed words, how to read them, what they take.

Every door prints these: the report, the text output, the card in ComfyUI, and the README (a test
compares it).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..specs import VerdictSpec

MIN_DECOYS = 99  # the fewest that allow p = 0.01
MIN_NULLS = 19  # the fewest that allow p = 0.05


@dataclass(frozen=True, slots=True)
class Letter:
    """What one letter says.

    Attributes:
        headline: the fixed words.
        reading: what they mean to a person who has to act, and what they do not mean.
        takes: what it takes; `requirement` fills in the levels.
    """

    headline: str
    reading: str
    takes: str = ""


LETTERS: dict[str, Letter] = {
    "A": Letter(
        "Use of these images is supported",
        "The evidence supports that these photos, or close copies of them, were used to train "
        "this model. It does not show who trained it.",
        "controls that are a hold-out of the same source, p at most {alpha_strong:g}, all noise "
        "seeds agree, no null model does the same; or decoys drawn in advance, p at most "
        "{alpha_strong:g} among {decoys} or more",
    ),
    "B": Letter(
        "The model departs from its nulls toward this set",
        "The model treats these photos differently from the controls, in the direction that "
        "training on them would cause. Look-alike photos can cause the same.",
        "ranks above {nulls} or more trained null models of every kind that ran, p at most "
        "{alpha:g}, AUC above theirs",
    ),
    "C": Letter(
        "Source similarity only",
        "The model leans toward photos of this kind. This test cannot tell whether these very "
        "photos were used, or others like them.",
        "a probe that never saw the model tells the sets apart, or the controls are not "
        "exchangeable",
    ),
    "D": Letter(
        "No evidence, or too little data to tell",
        "This test did not find evidence of use. That is not evidence that the photos were not "
        "used: it may have been too weak to see it.",
        "says how many photos would be needed",
    ),
    "ERROR": Letter(
        "The file could not be analyzed",
        "The analysis could not be completed, so it says nothing in either direction. "
        "This is not a finding that the model is clean.",
        'never "clean"',
    ),
    "NONE": Letter(
        "No verdict: the test that a verdict rests on was not run",
        "These are figures without a verdict. A single line of evidence is not enough to judge by.",
    ),
}


def requirement(letter: str, spec: VerdictSpec | None = None) -> str:
    """What a letter takes, at the levels of a case or at the default ones.

    Example:
        >>> requirement("B", VerdictSpec(alpha=0.02))[-42:]
        'that ran, p at most 0.02, AUC above theirs'
    """
    levels = spec or VerdictSpec()
    return LETTERS[letter].takes.format(
        alpha=levels.alpha, alpha_strong=levels.alpha_strong, decoys=MIN_DECOYS, nulls=MIN_NULLS
    )
