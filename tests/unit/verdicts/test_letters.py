"""The letters stand once; README and help pages say what the code says."""

from pathlib import Path

import pytest
from lora_forensics.core.specs import VerdictSpec
from lora_forensics.core.verdicts.letters import LETTERS, MIN_DECOYS, MIN_NULLS, requirement

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("README.md", "web/docs/LoraForensicsScreen.md", "web/docs/LoraForensicsVerdict.md")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("letter", [k for k, one in LETTERS.items() if one.takes])
def test_pages_say_what_the_code_says(page, letter):
    (row,) = [
        r for r in (ROOT / page).read_text().splitlines() if r.startswith(f"| **{letter}** |")
    ]
    assert LETTERS[letter].headline in row
    assert requirement(letter) in row


def test_what_a_letter_takes_follows_the_levels_of_the_case():
    strict = VerdictSpec(alpha=0.02, alpha_strong=0.001)
    assert "p at most 0.001" in requirement("A", strict)
    assert "p at most 0.02" in requirement("B", strict)


def test_the_fewest_nulls_and_decoys_are_those_that_allow_the_levels():
    levels = VerdictSpec()
    assert 1 / (MIN_DECOYS + 1) <= levels.alpha_strong < 1 / MIN_DECOYS
    assert 1 / (MIN_NULLS + 1) <= levels.alpha < 1 / MIN_NULLS


def test_no_letter_says_clean():
    words = [f"{one.headline} {requirement(k)}" for k, one in LETTERS.items() if k != "ERROR"]
    assert not any("clean" in text.lower() for text in words)
