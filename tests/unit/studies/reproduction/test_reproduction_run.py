"""Rows run for real with minute counts: results, sharing, resume, files, bad input."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from interruptions import InterruptIn
from lora_forensics.core.attack import line as blackbox
from lora_forensics.core.cli import main
from lora_forensics.core.errors import InputError, RunError
from lora_forensics.core.sampling import generation
from lora_forensics.core.studies.reproduction import experiments, stages
from lora_forensics.core.studies.reproduction.experiments import (
    FACTS,
    PLOT,
    TABLE,
    Reproduction,
    reproduce,
)
from lora_forensics.core.studies.reproduction.people import drawn_sets, softened
from lora_forensics.core.studies.reproduction.rows import select_rows
from lora_forensics.core.studies.reproduction.scales import TINY

ROWS = ("1", "8", "6/0")
SMALL = replace(
    TINY,
    finetune=replace(TINY.finetune, steps=3, warmup=0, batch=2, save_every=2),
    attack=replace(TINY.attack, images=10, steps=2, seeds=2, epochs=1, minibatch=8, side=32),
    sweep_seeds=2,
    seen=8,
    unseen=8,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run") / "out"
    said = []
    facts = reproduce(Reproduction(out, SMALL, ROWS, command="x"), announce=said.append)
    return out, facts, said


def test_rows_are_measured_in_the_order_of_the_table(finished):
    out, facts, said = finished
    assert [row["key"] for row in facts["rows"]] == ["1", "6/0", "8"]
    assert json.loads((out / FACTS).read_text()) == json.loads(json.dumps(facts))
    assert "targets to make" in said[0]
    row = {r["key"]: r for r in facts["rows"]}
    assert row["8"]["counts"] == [8, 8]
    assert row["1"]["counts"] == [2, 2]
    assert len(row["8"]["seed_aucs"]) == 2
    assert row["8"]["convicted"] == {"20": None, "50": None}
    assert row["8"]["null"]["folder"] == "base_dtu_cfg7.5-against-aau_aau_cfg7.5-x2"
    assert row["1"]["null"] is row["6/0"]["null"] is None
    assert row["6/0"]["train"] == ["dtu-400_dtu_cfg1", "aau_aau_cfg1"]


def test_tables_plot_and_sheets_are_written(finished):
    out, facts, _ = finished
    text = (out / TABLE).read_text()
    assert "| 8 | DTU seen against DTU unseen | .53 ± .00 |" in text
    assert "not run" in text
    assert (out / PLOT).read_bytes().startswith(b"\x89PNG")
    assert (out / "sheets" / "aau_aau_cfg7.5.png").is_file()
    assert {s["kind"] for s in facts["stages"]} == {"target", "images", "attack", "features"}
    assert facts["cpu_seconds"] <= facts["seconds"] * 1.5 + 1


def test_a_folder_read_again_says_the_same_of_each_set(finished):
    """The ledger sorts keys; the sets must keep their order."""
    out, facts, _ = finished
    material = experiments.material_of(Reproduction(out, SMALL))
    identity = experiments.digest_of(experiments.manifest_of(SMALL, material))
    bench = stages.Bench(out, material, SMALL, identity)
    (row,) = select_rows(["8"])
    folder = experiments.folder_of(row.train, SMALL)
    said = stages.scores_of(bench, folder)
    assert list(said) == ["dtu-seen", "aau-seen", "aau-unseen", "lfw", "dtu-unseen"]
    with bench.work(f"attack-{folder.name}") as case:
        whole = case.read_tensors("attack/seed-0")["logits"]
    assert torch.equal(said["dtu-unseen"][0], whole[-8:])
    scores = experiments.scores_of_row(bench, row, folder)
    assert scores.areas().tolist() == facts["rows"][-1]["seed_aucs"]


def test_a_second_call_trains_and_samples_nothing(finished, monkeypatch):
    out, facts, _ = finished
    monkeypatch.setattr(stages, "finetune", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr(blackbox, "train_and_score", lambda *a, **k: pytest.fail("attacked again"))
    sampled = []
    original = generation.sample_latents
    monkeypatch.setattr(
        generation,
        "sample_latents",
        lambda pair, jobs, *a, **k: sampled.extend(jobs) or original(pair, jobs, *a, **k),
    )
    again = reproduce(Reproduction(out, SMALL, ROWS, command="x"))
    assert sampled == []
    assert again["rows"] == facts["rows"]
    assert again["findings"] == facts["findings"]


@pytest.mark.parametrize("task", ["sampling", "attack"])
def test_a_killed_run_goes_on_to_the_same_numbers(task, finished, tmp_path):
    out = tmp_path / "out"
    asked = Reproduction(out, SMALL, ("6/0",))
    with pytest.raises(KeyboardInterrupt):
        reproduce(asked, progress=InterruptIn(task))
    assert not (out / FACTS).exists()
    facts = reproduce(asked)
    whole = next(row for row in finished[1]["rows"] if row["key"] == "6/0")
    assert facts["rows"] == [whole]


def test_other_settings_need_another_folder(finished):
    other = replace(SMALL, unseen=9)
    with pytest.raises(RunError, match="CONFIG_CHANGED"):
        reproduce(Reproduction(finished[0], other, ROWS))


def test_an_unknown_row_stops_before_any_work(tmp_path):
    with pytest.raises(InputError, match="BAD_ROW"):
        reproduce(Reproduction(tmp_path / "out", SMALL, ("14",)))
    assert not (tmp_path / "out").exists()


def test_the_command_prints_its_plan_and_names_a_bad_row(tmp_path, capsys):
    command = ["reproduce", "mia", "--out", str(tmp_path / "out"), "--plan"]
    assert main([*command, "--rows", "8"]) == 0
    assert "2 of 2 targets to make" in capsys.readouterr().out
    assert main([*command, "--rows", "99"]) == 2
    assert "ERROR/BAD_ROW" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["base", "dtu", "aau", "lfw", "resnet", "models"])
def test_files_of_the_full_scale_are_not_ignored(tmp_path, capsys, name):
    command = ["reproduce", "mia", "--out", str(tmp_path / "out"), f"--{name}", str(tmp_path)]
    assert main([*command, "--plan"]) == 2
    said = capsys.readouterr().err
    assert f"BAD_SETTING: --{name} " in said
    assert f"--{name} belongs to --scale sd15; add it" in said


def test_the_facts_are_those_of_the_settings_used():
    known = json.loads((Path(__file__).parents[4] / "docs/data/reproduction_mia.json").read_text())
    assert TINY.told == known["manifest"]["scale"]["facts"]
    assert experiments.scale_of("tiny", sampling=2).told["sampler"].startswith("DDIM, 2 steps ")
    assert SMALL.told["attack"].startswith("ResNet-18 from a random start at 32 pixels, 1 epochs")
    full = experiments.scale_of("sd15", images=7, sampling=3).told
    assert full["images"].startswith("7 an arm")
    assert full["sampler"].startswith("DDIM, 3 steps;")
    full = experiments.scale_of("sd15").told
    assert full["images"].startswith("2,500 an arm")
    assert full["sampler"].startswith("DDIM, 100 steps;")


def test_the_tables_tell_the_settings_used(finished):
    out, facts, _ = finished
    assert "- sampler: DDIM, 2 steps (paper" in (out / TABLE).read_text()
    assert facts["manifest"]["scale"]["facts"] == SMALL.told


def test_photos_are_drawn_once_and_half_of_them_at_home():
    sets, told = drawn_sets(30, 40)
    again, _ = drawn_sets(30, 40)
    assert {k: len(v) for k, v in sets.items()} == {
        **{"dtu-seen": 30, "aau-seen": 30, "lfw-seen": 30},
        **{"dtu-unseen": 40, "aau-unseen": 40, "lfw": 40},
    }
    assert all(torch.equal(a, b) for k in sets for a, b in zip(sets[k], again[k], strict=True))
    assert all(c.startswith("a northgate headshot of a") for c in told["dtu-seen"])
    corners = {k: torch.stack([i[:, :3, :3].mean((1, 2)) for i in v]) for k, v in sets.items()}
    grey = {k: ((c.amax(1) - c.amin(1)) < 0.08).float().mean() for k, c in corners.items()}
    assert 0.25 < grey["dtu-seen"] < 0.75
    assert grey["lfw"] < 0.2
    assert grey["aau-seen"] < 0.2


def test_public_faces_are_softer():
    picture = np.zeros((1, 64, 64, 3), np.uint8)
    picture[:, ::2] = 255
    assert softened(picture).std() < 0.8 * picture.std()
