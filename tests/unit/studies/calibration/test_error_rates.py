"""Rates are read strictly, and a case outside the calibrated range is told so, fact by fact."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from calibration_studies import PLAN, many
from lora_forensics.core.errors import InputError
from lora_forensics.core.rates import (
    CaseFacts,
    KnownRates,
    Share,
    load_rates,
    sentences,
    shipped_rates,
    validated,
)
from lora_forensics.core.studies.calibration.document import render
from lora_forensics.core.studies.calibration.summary import known_rates

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def rates() -> KnownRates:
    found = known_rates(many(partial=9), PLAN, command="lora-forensics calibrate --out FOLDER")
    wide = {"rank": (4, 16), "steps": (40, 250), "exposure": (10, 500), "photos": (4, 32)}
    return replace(found, ranges={**found.ranges, **wide})


INSIDE = CaseFacts("ab" * 32, "sd1", 8, 40, 8.0, 100.0, 50.0, 5e-4)


def test_json_gives_back_the_same_rates(rates, tmp_path):
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(asdict(rates)))
    assert load_rates(path) == replace(rates, ranges={k: tuple(v) for k, v in rates.ranges.items()})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schema_version": 99}, "RATES_SCHEMA"),
        ({"schema_version": None}, "RATES_SCHEMA"),
        ({"letters": 3}, "BAD_RATES"),
        ({"letters": [{"letter": "A"}]}, "BAD_RATES"),
        ({"guilty": "36"}, "BAD_RATES"),
        ({"guilty": True}, "BAD_RATES"),
        ({"surprise": 1}, "BAD_RATES"),
    ],
)
def test_strange_files_are_refused_by_name(rates, tmp_path, change, code):
    path = tmp_path / "rates.json"
    path.write_text(json.dumps({**asdict(rates), **change}))
    with pytest.raises(InputError) as error:
        load_rates(path)
    assert error.value.code == code


def test_a_missing_key_and_no_json_are_refused(rates, tmp_path):
    path = tmp_path / "rates.json"
    facts = asdict(rates)
    del facts["claims"]
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="BAD_RATES"):
        load_rates(path)
    for text in ("{", "[]", "3"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"BAD_RATES|RATES_SCHEMA"):
            load_rates(path)
    with pytest.raises(InputError, match="MISSING_RATES"):
        load_rates(tmp_path / "none.json")


def test_a_case_inside_is_not_flagged(rates):
    assert validated(rates, INSIDE) == ()
    said = sentences(rates, "A", INSIDE)
    assert said[-1] == "This case lies inside the validated range."
    assert any("1 of 36 innocent ones" in s for s in said)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"base": "cd" * 32}, "embedded tiny model"),
        ({"family": "sdxl"}, "sdxl"),
        ({"photos": 3}, "photos in question is 3"),
        ({"photos": 33}, "photos in question is 33"),
        ({"controls": 39}, "controls is 39"),
        ({"rank": 32.0}, "rank of the adapter is 32"),
        ({"steps": 251.0}, "training steps is 251"),
        ({"exposure": 9.0}, "passes over each photo is 9"),
        ({"learning_rate": 1e-4}, "learning rate is 0.0001"),
        ({"rank": None}, "rank of the adapter is not known"),
        ({"exposure": None}, "passes over each photo is not known"),
    ],
)
def test_every_way_outside_is_named(rates, change, word):
    found = validated(rates, replace(INSIDE, **change))
    assert len(found) == 1
    assert word in found[0]
    assert any("OUTSIDE THE VALIDATED RANGE" in s for s in sentences(rates, "B", INSIDE)) is False
    said = sentences(rates, "B", replace(INSIDE, **change))
    assert any("OUTSIDE THE VALIDATED RANGE" in s for s in said)


def test_more_controls_than_calibrated_are_inside(rates):
    assert validated(rates, replace(INSIDE, controls=400)) == ()


def test_the_edges_of_the_range_are_inside(rates):
    for photos, rank, steps in ((4, 4.0, 40.0), (32, 16.0, 250.0)):
        assert validated(rates, replace(INSIDE, photos=photos, rank=rank, steps=steps)) == ()


def test_another_base_of_the_users_own_is_told_apart(rates):
    (said,) = validated(replace(rates, scale="own base"), replace(INSIDE, base="00"))
    assert "another base" in said
    assert "calibrate" in said


def test_unknown_letters_get_no_rate_of_their_own(rates):
    assert not any("Verdict ERROR" in s for s in sentences(rates, "ERROR", INSIDE))


def test_shares_are_worded_with_their_interval():
    assert str(Share(1, 4, 0.006, 0.806)) == "1 of 4 (0.6% to 80.6%)"


def test_reading_rates_imports_nothing_heavy():
    code = (
        "import sys; import lora_forensics.core.rates; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'scipy', 'diffusers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd="/", check=False).returncode == 0


def test_the_page_is_the_shipped_rates():
    shipped, page = shipped_rates(), ROOT / "docs" / "calibration.md"
    if shipped is None:
        assert not page.exists()
        pytest.skip("the study has not been run; the page comes with its rates")
    assert page.read_text(encoding="utf-8") == render(shipped)
    assert (ROOT / "core" / "rates" / "tiny.json").stat().st_size < 300_000
