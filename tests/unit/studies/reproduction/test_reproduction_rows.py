import json
from dataclasses import replace
from pathlib import Path

import pytest
from lora_forensics.core.errors import InputError
from lora_forensics.core.studies.reproduction.budget import describe, seconds_of, stages_of
from lora_forensics.core.studies.reproduction.rows import (
    EXTRA_ROWS,
    PAPER_ROWS,
    POINTS,
    ROWS,
    TARGETS,
    select_rows,
)
from lora_forensics.core.studies.reproduction.scales import (
    SD15,
    TINY,
    Drawn,
    folder_of,
    folders_of,
    queries_of,
    targets_of,
)

ROW = {row.key: row for row in ROWS}
DATA = Path(__file__).resolve().parents[4] / "docs" / "data" / "reproduction_mia.json"


def total(field, rows=PAPER_ROWS):
    return round(sum(v for row in rows if (v := getattr(row.published, field)) is not None), 4)


def test_published_values_add_up_to_the_specification():
    """Totals counted from the table of specs/mia.md 7 and the figure of 8."""
    table = [row for row in PAPER_ROWS if not row.key.startswith("6/")]
    figure = [row for row in PAPER_ROWS if row.key.startswith("6/")]
    assert (len(table), len(figure), len({row.key for row in ROWS})) == (14, 5, len(ROWS))
    sums = {"auc": 11.17, "half": 0.28, "student": 0.475, "clip": 9.77, "tpr1": 4.248}
    assert {field: total(field, table) for field in sums} == sums
    above = [row.published.above for row in table if row.published.above]
    assert [round(sum(side), 2) for side in zip(*above, strict=True)] == [7.51, 3.48]
    assert total("auc", figure) == 3.8887
    assert total("tpr1", figure) == 0.96
    assert total("auc", EXTRA_ROWS) == 2.13


def test_every_number_of_the_paper_is_there():
    assert {row.key.split("/")[0] for row in PAPER_ROWS} == {str(n) for n in range(1, 14)}
    assert [r.key for r in select_rows(["6"])] == [f"6/{p}" for p in POINTS]
    assert [r.key for r in select_rows(["4"])] == ["4/50", "4/100", "4/400"]


def test_the_convictions_are_those_of_section_10():
    assert ROW["4/400"].published.convicted == {"20": 0.98, "50": 1.0}
    assert ROW["9"].published.convicted == {"20": 0.29, "50": 0.67}
    assert ROW["10"].published.convicted == {"20": 0.002, "50": 0.004}
    assert ROW["base/400"].published.convicted == {"20": 0.47, "50": 0.82}
    assert ROW["8"].published.convicted == {"50": 0.02}


@pytest.mark.parametrize("name", ["14", "4/200", "", "row 4", "0"])
def test_unknown_rows_are_named(name):
    with pytest.raises(InputError, match="BAD_ROW") as error:
        select_rows(["8", name])
    assert repr(name) in str(error.value)


def test_rows_of_one_training_folder_share_their_classifiers():
    shared = {folder_of(ROW[k].train, TINY) for k in ("3", "4/400", "7", "8")}
    assert len(shared) == 1
    assert queries_of(shared.pop(), TINY) == (
        *("dtu-seen", "aau-seen", "aau-unseen", "lfw", "dtu-unseen"),
    )


@pytest.mark.parametrize("scale", [TINY, SD15], ids=lambda s: s.name)
def test_what_a_folder_is_asked_does_not_depend_on_the_rows_run(scale):
    for row in ROWS:
        for folder in folders_of(row, scale):
            asked = set(row.test) - {"rest"}
            assert asked <= set(queries_of(folder, scale))


def test_both_arms_of_the_guidance_figure_have_one_scale():
    for point, cfg in zip(POINTS, (1, 4, 8, 12, 16), strict=True):
        folder = folder_of(ROW[f"6/{point}"].train, SD15)
        assert folder.positives.cfg == folder.negatives.cfg == cfg


def test_the_null_keeps_everything_but_the_target():
    assert ROW["5"].null == (replace(ROW["5"].train[0], target="base"), ROW["5"].train[1])
    assert folder_of(ROW["4/50"].null, TINY) == folder_of(ROW["9"].train, TINY)
    assert folder_of(ROW["base/8"].null, TINY) == folder_of(ROW["10"].train, TINY)
    assert ROW["1"].null is ROW["6/0"].null is None


def test_targets_take_their_share_of_the_steps():
    steps = {name: SD15.spec_of(name).steps for name in TARGETS}
    assert steps["dtu-50"] == 11_200
    assert steps["dtu-100"] == 22_400
    assert steps["dtu-400"] == steps["aau"] == steps["dtu-visible"] == 89_600
    assert steps["dtu-lfw"] == 100_000


def test_only_the_base_answers_without_its_adapter():
    assert {b.model for b in Drawn("base", "dtu", 7.5).rule.branches} == {0.0}
    assert {b.model for b in Drawn("aau", "aau", 7.5).rule.branches} == {1.0}


def test_the_plan_counts_shared_work_once(tmp_path):
    both, one = stages_of(select_rows(["4/400", "7"]), TINY), stages_of(select_rows(["7"]), TINY)
    assert both == one
    assert sum(s.kind == "target" for s in one) == 2
    spec = TINY.attack
    rows = {s.name: s.amount for s in one if s.kind == "images"}
    assert rows["dtu-400_dtu_cfg7.5"] == 2 * spec.images * spec.steps
    done = tmp_path / "work" / "target-aau" / "done.txt"
    done.parent.mkdir(parents=True)
    done.write_text("")
    left = stages_of(select_rows(["7"]), TINY, tmp_path)
    assert [s.name for s in left if s.done] == ["aau"]
    assert seconds_of(left, TINY) < seconds_of(one, TINY)
    assert "1 of 2 targets" in describe(left, TINY)
    assert seconds_of(left, SD15) is None


def test_the_whole_tiny_scale_is_planned_for_less_than_an_hour_of_one_core():
    stages = stages_of(ROWS, TINY)
    planned = seconds_of(stages, TINY)
    assert planned < 60 * 60
    assert planned == pytest.approx(json.loads(DATA.read_text())["cpu_seconds"], rel=0.1)
    assert targets_of(folder_of(row.train, TINY) for row in ROWS) == tuple(TARGETS)
