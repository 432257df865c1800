"""Rates are read strictly, and a case outside the calibrated range is told so, fact by fact."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from calibration_studies import INSIDE, PLAN, many
from lora_forensics.core.errors import InputError
from lora_forensics.core.rates.facts import KnownRates, Share
from lora_forensics.core.rates.precedents import case_rates
from lora_forensics.core.rates.reading import load_rates, shipped_rates
from lora_forensics.core.rates.scope import CaseFacts, sentences, validated
from lora_forensics.core.studies.calibration.document import render
from lora_forensics.core.studies.calibration.summary import known_rates

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def rates() -> KnownRates:
    found = known_rates(many(partial=9), PLAN, command="lora-forensics calibrate --out FOLDER")
    wide = {"rank": (4, 16), "steps": (40, 250), "exposure": (10, 500), "photos": (4, 32)}
    return replace(found, ranges={**found.ranges, **wide})


def said(rates: KnownRates, letter: str, facts: CaseFacts) -> list[str]:
    return sentences(case_rates(rates, facts), letter)


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
    own, both = said(rates, "B", INSIDE)
    assert "verdict B came up for 1 of 36 innocent ones (0.1% to 14.5%) and " in own
    assert "verdict A or B came up for 1 of 36 innocent ones" in both


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"base": "cd" * 32}, "embedded tiny model"),
        ({"family": "sdxl"}, "sdxl"),
        ({"photos": 3}, "photos in question are 3"),
        ({"photos": 33}, "photos in question are 33"),
        ({"controls": 39}, "controls are 39"),
        ({"rank": 32.0}, "rank of the adapter is 32"),
        ({"steps": 251.0}, "training steps are 251"),
        ({"exposure": 9.0}, "passes over each photo are 9"),
        ({"learning_rate": 1e-4}, "learning rate is 0.0001"),
        ({"rank": None}, "rank of the adapter is not known"),
        ({"exposure": None}, "passes over each photo are not known"),
    ],
)
def test_every_way_outside_is_named(rates, change, word):
    found = validated(rates, replace(INSIDE, **change))
    assert len(found) == 1
    assert word in found[0]
    *measured, warning, way = said(rates, "B", replace(INSIDE, **change))
    assert measured == said(rates, "B", INSIDE)
    assert warning.startswith("This case lies outside what was measured")
    assert way == found[0]


def test_more_controls_than_calibrated_are_inside(rates):
    assert validated(rates, replace(INSIDE, controls=400)) == ()


def test_the_edges_of_the_range_are_inside(rates):
    for photos, rank, steps in ((4, 4.0, 40.0), (32, 16.0, 250.0)):
        assert validated(rates, replace(INSIDE, photos=photos, rank=rank, steps=steps)) == ()


def test_another_base_of_the_users_own_is_told_apart(rates):
    (way,) = validated(replace(rates, scale="own base"), replace(INSIDE, base="00"))
    assert "another base" in way
    assert "calibrate" in way


def test_unknown_letters_get_no_rate_of_their_own(rates):
    (both,) = said(rates, "ERROR", INSIDE)
    assert "verdict A or B" in both


def test_shares_are_worded_with_their_interval():
    assert str(Share(1, 4, 0.006, 0.806)) == "1 of 4 (0.6% to 80.6%)"


def test_reading_rates_imports_nothing_heavy():
    code = (
        "import sys, conftest, lora_forensics.core.rates.reading; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'scipy', 'diffusers')))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", check=False)
    assert run.returncode == 0


def test_the_page_is_the_shipped_rates():
    shipped, page = shipped_rates(), ROOT / "docs" / "calibration.md"
    if shipped is None:
        assert not page.exists()
        pytest.skip("the study has not been run; the page comes with its rates")
    assert page.read_text(encoding="utf-8") == render(shipped)
    assert (ROOT / "core" / "rates" / "tiny.json").stat().st_size < 300_000
