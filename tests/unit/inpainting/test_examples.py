"""Sets of examples: variants, masks, splits, resume, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from lora_forensics.core.errors import InputError
from lora_forensics.core.inpainting.examples import (
    LISTING,
    make_examples,
    read_examples,
    split_of,
)
from lora_forensics.core.inpainting.variants import (
    ORIGINAL,
    REGENERATED,
    ROUND_TRIP,
    SPLICED,
    SPLITS,
)
from lora_forensics.core.storage import open_case
from toy_examples import Smoother, photos, squares, toy_set


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return toy_set(tmp_path_factory.mktemp("set") / "examples", 30)


def pixels(made, row):
    return np.asarray(made.picture(row)).astype(int)


def test_each_photo_gives_every_variant_with_its_mask(made):
    assert len(made) == 30 * 4
    for source in {r.source for r in made.rows}:
        rows = {r.variant: r for r in made.rows if r.source == source}
        assert set(rows) == {ORIGINAL, SPLICED, REGENERATED, ROUND_TRIP}
        mask, original = made.mask(rows[SPLICED]), pixels(made, rows[ORIGINAL])
        spliced = pixels(made, rows[SPLICED])
        assert np.array_equal(spliced[~mask], original[~mask])
        assert np.array_equal(spliced[mask], pixels(made, rows[REGENERATED])[mask])
        assert not np.array_equal(pixels(made, rows[REGENERATED])[~mask], original[~mask])
        assert np.array_equal(made.mask(rows[REGENERATED]), mask)
        assert not made.mask(rows[ORIGINAL]).any()
        assert not made.mask(rows[ROUND_TRIP]).any()
        assert not rows[ROUND_TRIP].fake
        assert len({r.split for r in rows.values()}) == 1, "a photo is in one split"


def test_splits_hold_their_shares_and_are_functions_of_the_pixels():
    splits = [split_of(f"{i:064x}") for i in range(3000)]
    shares = [splits.count(s) / 3000 for s in SPLITS]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.03)
    assert splits == [split_of(f"{i:064x}") for i in range(3000)]
    assert splits != [split_of(f"{i:064x}", seed=1) for i in range(3000)]


def test_a_set_is_read_as_it_was_made(made):
    assert read_examples(made.root) == made
    assert read_examples(made.root).digest() == made.digest()
    spliced = made.pick(variants=(SPLICED,), split="test")
    assert {r.split for r in spliced.rows} == {"test"}
    assert {r.variant for r in spliced.rows} == {SPLICED}
    kept = made.pick(generators=("smoother",))
    assert len(kept) == len(made), "originals belong to every generator"
    assert len(made.pick(generators=("other",))) == 30


def test_an_interrupted_set_goes_on_and_nothing_is_drawn_twice(tmp_path, made):
    calls = []

    class Counting(Smoother):
        def inpaint(self, pixels, masks, seeds, tick):
            if len(calls) == 1:
                calls.append(0)
                raise KeyboardInterrupt
            calls.append(len(pixels))
            return super().inpaint(pixels, masks, seeds, tick)

    def run():
        case = open_case(tmp_path / "set", {})
        try:
            return make_examples(photos(30), squares(30), [Counting()], case)
        finally:
            case.close()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert calls == [16, 0]
    again = run()
    assert calls == [16, 0, 14], "only the second group is drawn"
    assert {replace(r, file="") for r in again.rows} == {replace(r, file="") for r in made.rows}


def test_a_generator_that_keeps_the_rest_has_no_regenerated_variant(tmp_path):
    class Keeper(Smoother):
        def inpaint(self, pixels, masks, seeds, tick):
            drawn = super().inpaint(pixels, masks, seeds, tick)
            return masks * drawn + (1 - masks) * pixels

        def round_trip(self, pixels):
            return None

    made = toy_set(tmp_path / "set", 4, generator=Keeper())
    assert {r.variant for r in made.rows} == {ORIGINAL, SPLICED}


def test_bad_sets_are_named(tmp_path):
    case = open_case(tmp_path / "set", {})
    given, masks = photos(2), squares(2)
    for bad, code in (
        ((given, [m[:32] for m in masks], [Smoother()]), "MASK_SIZE"),
        ((given, masks[:1], [Smoother()]), "MASK_COUNT"),
        ((given, [np.zeros((64, 64), bool)] * 2, [Smoother()]), "EMPTY_MASK"),
        ((given, masks, [Smoother(), Smoother()]), "BAD_SETTING"),
    ):
        with pytest.raises(InputError, match=code):
            make_examples(*bad, case)
    case.close()
    with pytest.raises(InputError, match="NOT_EXAMPLES"):
        read_examples(tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "code"),
    [("no json", "BAD_EXAMPLES"), ('{"file": "a"}', "BAD_EXAMPLES"), ("{}", "BAD_EXAMPLES")],
)
def test_strange_listings_are_named(tmp_path, line, code):
    (tmp_path / LISTING).write_text(line + "\n")
    with pytest.raises(InputError, match=code):
        read_examples(tmp_path)


def test_files_outside_the_folder_are_refused(made, tmp_path):
    row = json.loads((made.root / LISTING).read_text().splitlines()[0])
    for name in ("../secret.png", "/etc/passwd"):
        (tmp_path / LISTING).write_text(json.dumps(row | {"file": name}) + "\n")
        with pytest.raises(InputError, match="outside its folder"):
            read_examples(tmp_path)
    (tmp_path / LISTING).write_text(json.dumps(row) + "\n")
    found = read_examples(tmp_path)
    with pytest.raises(InputError, match="CHANGED_EXAMPLE"):
        found.picture(found.rows[0])
