"""The blind probe of a case: two probes are made, and one p and one sentence stand for both."""

import re

import numpy as np
import pytest
from lora_forensics.core.casework.screening import Question, probe_sets
from lora_forensics.core.encoders import load_encoder
from lora_forensics.core.encoders.embedding import embed
from lora_forensics.core.images.photos import image_files, load_photos
from lora_forensics.core.images.sets import Sets
from lora_forensics.core.specs import ScreenSpec
from PIL import Image

LIMIT, LEVEL = ScreenSpec().verdict.probe_limit, 0.10


def question(root, shift, seed=0, n=6, m=14):
    """Gray pictures that differ in brightness, the photos by `shift` standard deviations."""
    rng = np.random.default_rng(seed)
    for kind, bright in (("photo", rng.normal(shift, 1, n)), ("control", rng.normal(0, 1, m))):
        (root / kind).mkdir(parents=True)
        for i, level in enumerate(np.clip(128 + 25 * bright, 0, 245)):
            noise = rng.integers(0, 10, (16, 16, 3))
            Image.fromarray((noise + level).astype(np.uint8)).save(root / kind / f"{i}.png")
    sets = [load_photos(image_files(root / k), k, 16, root=root / k) for k in ("photo", "control")]
    return Question(sets=Sets(*sets), prompts=("a face",))


@pytest.mark.parametrize(
    ("shift", "seed", "kind"),
    [(0, 2, "not told apart"), (0, 0, "undecided"), (3, 0, "differ")],  # the second: 0.06 alone
)
def test_the_sentence_is_made_of_the_p_that_counts_both_probes(tmp_path, shift, seed, kind):
    asked, encoder = question(tmp_path, shift, seed), load_encoder("tiny")
    vectors = [embed(p.images, encoder) for p in (asked.sets.photos, asked.sets.controls)]
    found = probe_sets(asked, *vectors, ScreenSpec())
    assert found is not None
    said = re.findall(r"p = ([\d.]*\d)", found.reason)
    assert [float(p) for p in said] == [pytest.approx(found.p, rel=5e-3)]
    assert (100 * found.p) == pytest.approx(round(100 * found.p))  # 2 k / 200
    assert found.fails == (found.auc > LIMIT and found.p <= LEVEL) == (kind == "differ")
    assert found.inconclusive == (found.auc > LIMIT and found.p > LEVEL) == (kind == "undecided")
    assert kind in found.reason


def test_too_few_photos_make_no_probe(tmp_path):
    asked, encoder = question(tmp_path, 3, n=3), load_encoder("tiny")
    vectors = [embed(p.images, encoder) for p in (asked.sets.photos, asked.sets.controls)]
    assert probe_sets(asked, *vectors, ScreenSpec()) is None
