"""The command line of the study, and the user's own base and photos."""

from pathlib import Path

import numpy as np
import pytest
from calibration_studies import INSIDE, PLAN, many
from lora_forensics.core.cli import main
from lora_forensics.core.cli.calibration import _command, parse_shard
from lora_forensics.core.demo.assets import asset_path
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.inspection import inspect_lora
from lora_forensics.core.rates.precedents import (
    case_facts,
    case_rates,
    case_share,
    case_weight,
    set_statistic,
)
from lora_forensics.core.rates.scope import CaseFacts
from lora_forensics.core.studies.calibration.run import own_study, plan_text
from lora_forensics.core.studies.calibration.settings import CalibrationSpec
from lora_forensics.core.studies.calibration.summary import known_rates

OUTSIDE = CaseFacts(base="cd" * 32, family="sdxl", photos=8, controls=40)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", ""])
def test_shards_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="BAD_SETTING"):
        parse_shard(text)


def test_the_plan_is_printed_and_nothing_is_written(tmp_path, capsys):
    out = tmp_path / "study"
    assert main(["calibrate", "--out", str(out), "--plan-only"]) == 0
    said = capsys.readouterr().err
    assert "81 adapters: 36 guilty, 36 innocent, 9 in part" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--scale", "own"], "BAD_SETTING: --scale own needs --base and --photos"),
        (["--summarize"], "NOT_A_STUDY"),
        (["--plan-only", "--threads", "-2"], "ERROR/BAD_SETTING: --threads is -2"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, capsys, more, said):
    assert main(["calibrate", "--out", str(tmp_path), *more]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--base", "--photos", "--models"])
def test_files_of_the_own_scale_are_not_ignored(tmp_path, capsys, flag):
    command = ["calibrate", "--out", str(tmp_path / "x"), "--plan-only", flag, str(tmp_path)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"BAD_SETTING: {flag} " in said
    assert f"{flag} belongs to --scale own; add it" in said


def test_the_recorded_command_leaves_out_what_changes_no_result():
    class Args:
        command_line = "lora-forensics calibrate --out /a/b --shard 1/2 --threads 1 --steps 1 2 3"

    assert _command(Args()) == "lora-forensics calibrate --steps 1 2 3 --out FOLDER"  # type: ignore[arg-type]


def test_an_own_base_and_pool_make_a_study():
    spec = CalibrationSpec(sizes=(4,), partial_size=0, controls=12)
    photos = asset_path("photos/controls_north")
    study = own_study(spec, asset_path("base"), photos, "a headshot", encoder="tiny")
    assert study.scale.startswith("own base")
    assert len(study.cases) == 18
    facts = study.plan().source
    assert facts["caption"] == "a headshot"
    assert not any(str(Path(photos)) in str(v) for v in facts.values())
    assert "18 adapters" in plan_text(study)


def test_a_pool_too_small_for_the_design_is_refused_before_any_work():
    photos = asset_path("photos/controls_north")
    with pytest.raises(NotEnoughDataError, match="SMALL_POOL"):
        own_study(CalibrationSpec(controls=60), asset_path("base"), photos, "x", encoder="tiny")


def test_a_report_gets_rates_range_and_weight():
    rates = known_rates(many(), PLAN)
    e = many()[1].scores["primary"]
    found = case_rates(rates, INSIDE, case_weight(rates, INSIDE, e.photos, e.controls))
    assert found["outside"] == []
    assert found["cases"] == {"guilty": 36, "innocent": 36}
    both = next(r for r in found["letters"] if r["letter"] == "A or B")
    assert both["false_accusations"]["share"] == pytest.approx(1 / 36)
    pytest.importorskip("lir")
    assert found["likelihood"]["lr"] > 1
    assert found["likelihood"]["lr"] <= 36


def test_a_case_outside_the_range_is_not_weighed():
    rates = known_rates(many(), PLAN)
    assert case_weight(rates, OUTSIDE, [1.0, 2.0], [0.0, 1.0, 2.0]) is None
    assert len(case_rates(rates, OUTSIDE)["outside"]) > 2


def test_the_share_used_follows_the_photos_and_the_nearest_training():
    rates = known_rates(many(gap=2.5), PLAN)
    assert all(c.members and c.nonmembers for c in rates.reference.calls)
    rng = np.random.default_rng(3)
    controls, used, others = rng.normal(size=40), rng.normal(2.5, 1, 8), rng.normal(size=8)
    most, none = (case_share(rates, INSIDE, x, controls) for x in (used, others))
    assert most is not None
    assert none is not None
    assert most.share > 0.6 > 0.4 > none.share
    assert case_share(rates, OUTSIDE, used, controls) is None


def test_facts_of_a_case_are_the_files_claims():
    lora = read_lora(asset_path("suspects/guilty_light.safetensors"))
    models = {"base_sha256": "ab" * 32, "family": "sd1"}
    found = case_facts(models, inspect_lora(lora), 16, 100)
    assert (found.rank, found.steps, found.learning_rate) == (4, 100, 4e-4)
    assert found.exposure == pytest.approx(100 * 8 / 16)
    assert case_facts(models, None, 16, 100) == CaseFacts(
        base="ab" * 32, family="sd1", photos=16, controls=100
    )


def test_set_statistic_is_a_z_value_without_effect():
    rng = np.random.default_rng(0)
    z = [set_statistic(rng.normal(size=8), rng.normal(size=60)) for _ in range(400)]
    assert abs(np.mean(z)) < 0.15
    assert 0.9 < np.std(z) < 1.15
