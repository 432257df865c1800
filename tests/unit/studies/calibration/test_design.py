"""The design is balanced; the photos of a case are one random split that no other case shares."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from calibration_studies import study_case
from lora_forensics.core.demo.datasets import PUBLIC_SETS
from lora_forensics.core.demo.faces import draw_faces
from lora_forensics.core.demo.suspects import PHOTO_SEEDS
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.studies.calibration.cases import design, own_first, placebos_of
from lora_forensics.core.studies.calibration.photos import (
    DEGRADE,
    DrawnFaces,
    PhotoPool,
    null_cases,
    photo_sets,
    split,
)
from lora_forensics.core.studies.calibration.settings import CalibrationSpec
from PIL import Image

SPEC = CalibrationSpec()
FACTORS = ("rank", "steps", "learning_rate", "photos", "quality")


def test_guilty_and_innocent_cases_are_the_same_recipes_in_number():
    cases = design(SPEC)
    counts = Counter(c.used for c in cases)
    assert counts == {1.0: 36, 0.0: 36, 0.5: 9}
    recipes = [Counter((c.rank, c.steps) for c in cases if c.used == u) for u in (1.0, 0.0)]
    assert recipes[0] == recipes[1]


@pytest.mark.parametrize("used", [1.0, 0.0])
@pytest.mark.parametrize(("a", "b"), list(combinations(FACTORS, 2)))
def test_every_pair_of_levels_comes_up_equally_often(used, a, b):
    pairs = Counter((getattr(c, a), getattr(c, b)) for c in design(SPEC) if c.used == used)
    levels = len({k[0] for k in pairs}) * len({k[1] for k in pairs})
    assert len(pairs) == levels
    assert len(set(pairs.values())) == 1


def test_design_is_a_function_of_the_seed():
    assert design(SPEC) == design(SPEC)
    other = design(replace(SPEC, seed=5))
    assert [c.rank for c in other] != [c.rank for c in design(SPEC)]


def test_factors_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="BAD_SETTING"):
        design(replace(SPEC, ranks=(4, 8)))
    with pytest.raises(InputError, match="BAD_SETTING"):
        design(replace(SPEC, ranks=(4, 4, 8)))


@pytest.mark.parametrize("rates", [(1e-4, 2e-4), (1e-4, 1e-4, 2e-4), (1e-4,) * 4])
def test_learning_rates_that_form_no_square_are_refused(rates):
    with pytest.raises(InputError, match="learning rates for 3 ranks"):
        design(replace(SPEC, learning_rates=rates))


def test_one_learning_rate_serves_all():
    assert {c.learning_rate for c in design(replace(SPEC, learning_rates=(1e-4,)))} == {1e-4}


def test_shards_take_every_case_once_and_their_own_first():
    cases = design(SPEC)
    orders = [own_first(cases, i, 2) for i in (1, 2)]
    assert all(sorted(o, key=lambda c: c.number) == list(cases) for o in orders)
    own = [{c.number for c in o[: len(o) // 2]} for o in orders]
    assert not own[0] & own[1]


def test_placebos_are_other_adapters_of_the_same_quality():
    cases = design(SPEC)
    for c in cases[:10]:
        found = placebos_of(c, cases, 19)
        assert len({p.number for p in found}) == 19
        assert c not in found
        assert {p.quality for p in found} == {c.quality}
    assert len(placebos_of(cases[0], cases, 99)) == 80


def test_no_case_shares_a_seed_with_another_or_with_the_demo():
    seeds = [c.seed for c in design(SPEC)]
    assert len(set(seeds)) == len(seeds)
    demo = {*PHOTO_SEEDS.values(), *(s.seed for s in PUBLIC_SETS), *range(400, 700)}
    assert not demo & set(seeds)


def hashes(photos):
    return [s.sha256 for s in photos.images.sources]


@pytest.mark.parametrize(("used", "common"), [(1.0, 6), (0.0, 0), (0.5, 3)])
@pytest.mark.parametrize("quality", list(DEGRADE))
def test_asked_photos_are_training_photos_as_far_as_the_truth_says(used, common, quality):
    asked_case = study_case(0, used, photos=6, quality=quality, seed=81)
    sets = photo_sets(asked_case, DrawnFaces(), replace(SPEC, controls=12))
    training, asked, controls = (hashes(p) for p in (sets.training, sets.asked, sets.controls))
    assert len(set(training) & set(asked)) == common
    assert not set(controls) & {*training, *asked}
    assert len({*training, *asked, *controls}) == 6 + (6 - common) + 12


def test_cases_share_no_pixels():
    cases = [study_case(i, 0.0, photos=4, seed=90 + i) for i in range(3)]
    spec = replace(SPEC, controls=10)
    seen = Counter()
    for c in cases:
        s = photo_sets(c, DrawnFaces(), spec)
        seen.update({*hashes(s.training), *hashes(s.asked), *hashes(s.controls)})
    assert max(seen.values()) == 1


def test_split_is_the_same_size_for_every_truth():
    for used in (1.0, 0.5, 0.0):
        rows = split(study_case(0, used, photos=16), SPEC)
        assert [len(rows[k]) for k in ("training", "asked", "controls")] == [16, 16, 40]
        assert not set(rows["controls"]) & {*rows["training"], *rows["asked"]}


def test_order_of_drawing_says_nothing_about_the_role():
    names = DrawnFaces().names(study_case(0, 0.0, seed=4), 16, 40)
    assert sorted(names, key=lambda n: int(n.split("-")[1])) != names
    assert len(set(names)) == 56


def test_qualities_treat_photos_and_controls_alike_and_leave_their_marks():
    one, spec = study_case(0, 0.0, quality="jpeg", seed=7), replace(SPEC, controls=20)
    sets = photo_sets(one, DrawnFaces(), spec)
    for part in (sets.training, sets.asked, sets.controls):
        qualities = [f.jpeg_quality for f in part.facts]
        assert {f.format for f in part.facts} == {"JPEG"}
        assert 25 < min(qualities) < max(qualities) < 95
    clean = photo_sets(replace(one, quality="clean"), DrawnFaces(), spec)
    assert {f.format for f in clean.controls.facts} == {"PNG"}
    mixed = photo_sets(replace(one, quality="mixed"), DrawnFaces(), spec)
    spread = [p.controls.images.pixels.std((1, 2, 3)) for p in (clean, mixed)]
    assert spread[1].std() / spread[1].mean() > spread[0].std() / spread[0].mean()
    assert {f.format for f in mixed.controls.facts} == {"PNG", "JPEG"}


def test_the_same_case_is_drawn_again_to_the_byte():
    one, spec = study_case(0, 0.0, photos=4, quality="mixed", seed=7), replace(SPEC, controls=10)
    a, b = (photo_sets(one, DrawnFaces(), spec) for _ in range(2))
    assert a.controls.facts == b.controls.facts


@pytest.fixture
def pool(tmp_path):
    for i, pixels in enumerate(draw_faces(40, "generic", 5, size=32).pixels):
        Image.fromarray(pixels).save(tmp_path / f"{i:02d}.png")
    return PhotoPool(tmp_path, 32, "a photo")


def test_a_pool_gives_all_cases_the_same_controls_and_no_adapter_saw_one(pool):
    spec = replace(SPEC, controls=12)
    cases = [study_case(i, 0.0, photos=4, seed=90 + i) for i in range(12)]
    sets = [pool.names(c, 8, 12) for c in cases]
    assert len({tuple(s[8:]) for s in sets}) == 1
    assert all(not set(s[:8]) & set(s[8:]) for s in sets)
    assert len({tuple(s[:8]) for s in sets}) > 1
    found = null_cases(cases[0], cases, pool, spec)
    assert 0 < len(found) < 11
    asked = set(sets[0][4:8])
    assert all(not asked & set(pool.names(c, 8, 12)[:4]) for c in found)
    drawn = photo_sets(cases[0], pool, spec)
    assert drawn.asked.images.pixels.shape == (4, 3, 32, 32)


def test_a_small_pool_is_refused(pool):
    with pytest.raises(NotEnoughDataError, match="SMALL_POOL"):
        pool.names(study_case(0, 0.0, photos=16), 32, 12)


def test_a_pools_identity_follows_its_files(pool):
    before = pool.facts()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(pool.folder / "00.png")
    assert pool.facts() != before


def test_a_design_that_can_never_give_rates_is_refused():
    one = replace(SPEC, ranks=(4,), steps=(40,), qualities=("clean",), learning_rates=(1e-4,))
    with pytest.raises(InputError, match=r"BAD_SETTING.*1 guilty and 1 innocent"):
        design(replace(one, sizes=(4,)))
    assert len(design(replace(one, sizes=(4, 8), partial_size=0))) == 4
