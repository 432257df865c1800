"""`reproduce localization`: runs, rules, tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lora_forensics.core.cli import main
from lora_forensics.core.errors import InputError
from lora_forensics.core.inpainting.examples import make_examples
from lora_forensics.core.inpainting.whole import add_whole
from lora_forensics.core.localization.settings import METHOD_NAMES, paper_spec
from lora_forensics.core.sampling.plans import noise_of
from lora_forensics.core.storage import open_case
from lora_forensics.core.studies.reproduction.localization.experiments import (
    LocalizationRun,
    reproduce_localization,
    transfer_of,
)
from lora_forensics.core.studies.reproduction.localization.findings import (
    difference,
    judged_findings,
)
from lora_forensics.core.studies.reproduction.localization.scales import (
    TINY,
    LocalizationScale,
    full_scale,
    runs_of,
)
from lora_forensics.core.studies.reproduction.localization.tables import main_table
from toy_examples import Smoother, photos, squares, toy_set

TOY = LocalizationScale(
    name="full",
    main="smoother",
    generators=("smoother", "fainter", "third"),
    seeds=1,
    side=64,
    changes={"width": 0.1, "batch": 4, "iterations": 2, "epochs": 1, "recalibration": 1},
)


class Painter:
    name, whole_cost = "smoother", 1

    def facts(self):
        return {"name": self.name}

    def whole(self, seeds, tick):
        return torch.stack([noise_of(s, (3, 64, 64)).sigmoid() for s in seeds])


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy") / "set"
    case = open_case(root, {"toy": 1})
    generators = [Smoother(), Smoother("fainter", strength=0.5), Smoother("third", strength=0.7)]
    made = make_examples(photos(30), squares(30), generators, case)
    add_whole(made, [Painter()], 20, case)
    case.close()
    return root


@pytest.fixture(scope="module")
def run(examples, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "run"
    other = toy_set(tmp_path_factory.mktemp("other") / "elsewhere", 30, seed=7).root
    asked = LocalizationRun(
        out=out, scale=TOY, examples=examples, outside=(other,), command="the command"
    )
    return asked, reproduce_localization(asked)


def test_every_cell_of_the_table_is_trained():
    runs = runs_of(TINY)
    main_cells = {(r.setup, r.method) for r in runs if r.table == "main"}
    assert len(main_cells) == 9
    keys = [r.key for r in runs]
    assert len(set(keys)) == len(keys)
    first = [r for r in runs if r.seed == 0]
    assert list(runs[: len(first)]) == first
    alone = {r.generators for r in runs if (r.method, r.setup) == ("patches", "C")}
    assert {(g,) for g in TINY.generators} <= alone
    assert sum(len(g) == 3 for g in alone) == 4


def test_the_full_scale_is_the_paper_s():
    scale = full_scale("repaint_pixel", ("repaint_pixel",), 1)
    for method in METHOD_NAMES:
        for setup in "ABC":
            assert scale.spec(method, setup, 0) == paper_spec(method, setup)
    assert scale.side == 299


def test_a_run_measures_what_it_says(run):
    _, facts = run
    assert [r["key"] for r in facts["runs"]] == [r.key for r in runs_of(TOY)]
    names = facts["tests"]
    assert names[0] == "smoother"
    assert {"JPEG 90", "resize 0.5", "fainter", "smoother, regenerated"} <= set(names)
    assert any(n.startswith("elsewhere: ") for n in names)
    for entry in facts["runs"]:
        first = entry["tests"]["smoother"]
        assert first["iou"] == pytest.approx(np.mean(entry["main_iou"]), abs=1e-3)
        assert (entry["ap"] is None) == (entry["setup"] in ("C", "practical"))
    guess = facts["baselines"]
    assert guess["fake_iou"] == pytest.approx(first["all_fake_iou"])
    assert guess["real_pbca"] == pytest.approx(1 - first["all_fake_iou"])
    assert guess["real_iou"] == 0
    assert transfer_of(facts["runs"]).keys() == {"smoother", "fainter", "third"}
    assert len(facts["findings"]) == 4


def test_a_second_call_trains_nothing(run, monkeypatch):
    asked, facts = run
    monkeypatch.setattr(
        "lora_forensics.core.studies.reproduction.localization.experiments.train_localizer", None
    )
    assert reproduce_localization(asked)["runs"] == facts["runs"]


def test_more_seeds_go_on(run):
    asked, facts = run
    again = reproduce_localization(replace(asked, scale=replace(TOY, seeds=2)))
    kept = {r["key"]: r for r in again["runs"]}
    assert len(again["runs"]) == len(facts["runs"]) + 10
    assert all(kept[r["key"]] == r for r in facts["runs"])
    assert "seeds 0 to 1 in the main table" in (asked.out / "localization.md").read_text()


def test_published_values_stand_beside_ours(run):
    _, facts = run
    lines = main_table(facts).splitlines()
    row = next(line for line in lines if line.startswith("| C | Patches |"))
    entry = next(r for r in facts["runs"] if r["key"] == "patches-C-smoother-0")
    cells = [c.strip() for c in row.strip("|").split("|")]
    assert cells[2] == "84.5"
    assert cells[4] == f"{100 * entry['tests']['smoother']['iou']:.1f}"
    assert cells[5] == "98.6"
    assert cells[7:] == ["-", "-"]
    assert sum("all pixels" in line for line in lines) == 2


def test_a_set_that_lacks_something_is_named(examples, tmp_path):
    toy = toy_set(tmp_path / "toy", 20).root
    for generator, given, lacks in (("smoother", toy, "whole"), ("lama", examples, "lama")):
        scale = full_scale(generator, (generator,), 1)
        asked = LocalizationRun(out=tmp_path / generator, scale=scale, examples=given)
        with pytest.raises(InputError, match=rf"MISSING_VARIANT.*{lacks}"):
            reproduce_localization(asked)


def test_flags_of_the_other_scale_are_refused(examples, tmp_path, capsys):
    args = ["reproduce", "localization", "--out", str(tmp_path / "o")]
    assert main([*args, "--examples", str(examples)]) != 0
    assert "BAD_SETTING" in capsys.readouterr().err
    assert main([*args, "--scale", "full"]) != 0
    assert "MISSING_FLAG" in capsys.readouterr().err


def rng_cells(gap, seeds=2, count=80):
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.4, (seeds, count))
    cells = {(s, m): base + rng.normal(0, 0.01, base.shape) for s in "AB" for m in METHOD_NAMES}
    cells |= {("C", m): base + gap for m in METHOD_NAMES}
    return cells


@pytest.mark.parametrize(
    ("gap", "outcome"), [(0.3, "held"), (-0.3, "not held"), (0.0, "undecided")]
)
def test_findings_follow_their_rules(gap, outcome):
    found = {f.name: f for f in judged_findings(rng_cells(gap), {})}
    assert found["masks_first"].outcome == outcome
    assert found.keys() == {"masks_first", "patches_first", "whole_first"}


def test_seeds_that_disagree_decide_nothing():
    better = np.array([[0.9] * 40, [0.1] * 40])
    worse = np.full((2, 40), 0.4)
    found = difference("x", better, worse)
    assert found.low > 0
    assert found.outcome == "undecided"


def test_transfer_asks_every_generator():
    good = {"a": {"a": 0.8, "b": 0.3}, "b": {"a": 0.2, "b": 0.7}}
    assert judged_findings({}, good)[0].outcome == "held"
    mixed = {"a": {"a": 0.8, "b": 0.3}, "b": {"a": 0.9, "b": 0.7}}
    assert judged_findings({}, mixed)[0].outcome == "undecided"
