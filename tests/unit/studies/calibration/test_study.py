"""Two guilty and two innocent adapters through the whole study; a kill loses one unit at most."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from calibration_studies import SMALL, study_case
from interruptions import InterruptIn
from lora_forensics.core.errors import RunError
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.inspection import inspect_lora
from lora_forensics.core.rates.reading import load_rates
from lora_forensics.core.storage import LOCK
from lora_forensics.core.studies.calibration import run
from lora_forensics.core.studies.calibration.examine import read_examined
from lora_forensics.core.studies.calibration.folders import open_study
from lora_forensics.core.studies.calibration.rates import Results
from lora_forensics.core.studies.calibration.run import plan_text, run_study, tiny_study
from lora_forensics.core.studies.calibration.summary import read_study, summarise

CASES = tuple(
    study_case(i, used, rank=2, steps=2, photos=4, quality=quality, seed=910_000 + i)
    for i, (used, quality) in enumerate(
        [(1.0, "clean"), (0.0, "jpeg"), (1.0, "mixed"), (0.0, "clean")]
    )
)


@pytest.fixture(scope="module")
def study():
    torch.set_num_threads(1)
    return tiny_study(SMALL, CASES)


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    """A study that was stopped twice on its way, and every call that trained an adapter."""
    out, trained = tmp_path_factory.mktemp("study"), []
    real = run.finetune

    def counted(base, images, captions, spec, **more):
        trained.append(spec.seed)
        return real(base, images, captions, spec, **more)

    patch = pytest.MonkeyPatch()
    patch.setattr(run, "finetune", counted)
    for task in ("fine-tuning", "placebo"):
        with pytest.raises(KeyboardInterrupt):
            run_study(study, out, progress=InterruptIn(task))
    assert run_study(study, out) == []
    assert run_study(study, out, shard=2, shards=2) == []
    patch.undo()
    return out, trained


def test_nothing_is_trained_twice(finished):
    _, trained = finished
    assert sorted(set(trained)) == [c.seed for c in CASES]
    assert len(trained) == len(CASES) + 1  # the first was stopped in the middle


def test_every_case_has_an_adapter_that_says_how_it_was_trained(finished):
    out, _ = finished
    for case in CASES:
        claims = inspect_lora(read_lora(out / case.name / "adapter.safetensors")).claims
        assert claims.images == case.photos
        assert claims.steps == case.steps


def test_every_case_went_through_every_line(finished):
    out, _ = finished
    for case in CASES:
        e = read_examined(out / case.name / "result.json")
        assert e.case == case
        assert e.letter in "ABCD"
        assert {"primary", "attack", "extraction", "fusion", "residual", "loss"} <= e.scores.keys()
        assert all(len(s.photos) == 4 and len(s.controls) == 10 for s in e.scores.values())
        assert {k: len(n.nulls) for k, n in e.nulls.items()} == {"noise": 1, "placebo": 2}
        assert e.forwards > 0


def test_rates_and_page_are_written_from_what_is_finished(finished):
    out, _ = finished
    rates = summarise(read_study(out), command="lora-forensics calibrate")
    assert load_rates(out / "rates.json") == rates
    assert (rates.guilty, rates.innocent, rates.partial) == (2, 2, 0)
    assert rates.ranges["exposure"] == (4.0, 4.0)
    assert rates.forwards <= sum(run.forwards_of(c, SMALL, "x") for c in CASES)
    assert (out / "calibration.md").read_text().startswith("# Known error rates")


def test_a_stopped_study_gives_the_results_of_one_that_was_not(finished, study, tmp_path):
    out, _ = finished
    folder = open_study(tmp_path / "again", study.plan())
    for case in CASES:
        (folder.root / case.name).mkdir()
        for name in ("adapter.safetensors", "manifest.json"):
            shutil.copy(out / case.name / name, folder.root / case.name)
    with folder.claimed(CASES[0]) as kept:
        run.examine_case(study, folder, CASES[0], kept, progress=run.QUIET)
    again = json.loads(folder.result(CASES[0]).read_bytes())
    before = json.loads((out / CASES[0].name / "result.json").read_bytes())
    assert {**again, "seconds": 0} == {**before, "seconds": 0}


def test_another_plan_and_another_folder_are_refused(finished, study, tmp_path):
    out, _ = finished
    other = replace(study, spec=replace(SMALL, controls=11))
    with pytest.raises(RunError, match="CONFIG_CHANGED"):
        run_study(other, out)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="NOT_A_STUDY"):
        run_study(study, tmp_path)
    with pytest.raises(RunError, match="NOT_A_STUDY"):
        read_study(tmp_path)


def test_a_case_in_other_hands_is_left_alone(study, tmp_path):
    folder = open_study(tmp_path / "study", study.plan())
    with folder.claimed(CASES[0]):
        (tmp_path / "study" / CASES[0].name / LOCK).write_text(str(os.getppid()))
        done = []
        busy = folder.work(CASES[:2], folder.result, lambda c, kept: done.append(c))
    assert busy == [CASES[0]]
    assert done == [CASES[1]]


def test_a_lock_left_by_a_killed_process_is_taken_over(study, tmp_path):
    folder = open_study(tmp_path / "study", study.plan())
    with folder.claimed(CASES[0]):
        pass
    (tmp_path / "study" / CASES[0].name / LOCK).write_text("999999999")
    done = []
    assert folder.work(CASES[:1], folder.result, lambda c, kept: done.append(c)) == []
    assert done == [CASES[0]]


def test_a_folder_that_is_just_being_made_counts_as_taken(study, tmp_path):
    folder = open_study(tmp_path / "study", study.plan())
    root = tmp_path / "study" / CASES[0].name
    root.mkdir()
    (root / LOCK).write_text("1")
    (root / ".tmp-manifest").write_text("")
    assert folder.work(CASES[:1], folder.result, lambda c, kept: None) == [CASES[0]]


def test_waiting_ends_when_the_other_process_is_done(study, tmp_path, monkeypatch):
    folder = open_study(tmp_path / "study", study.plan())
    with folder.claimed(CASES[0]):
        lock = tmp_path / "study" / CASES[0].name / LOCK
        lock.write_text(str(os.getppid()))
        told = []

        def other(_):
            folder.adapter(CASES[0]).write_bytes(b"trained elsewhere")

        monkeypatch.setattr("lora_forensics.core.studies.calibration.folders.time.sleep", other)
        busy = folder.work(
            CASES[:1], folder.adapter, lambda c, kept: None, wait=True, on_wait=told.append
        )
    assert busy == []
    assert told == [[CASES[0]]]


def test_the_plan_names_cost_and_counts(study):
    text = plan_text(study)
    assert "4 adapters: 2 guilty, 2 innocent, 0 in part" in text
    assert "8 training steps" in text


def test_results_need_both_truths(finished):
    out, _ = finished
    one = read_examined(out / CASES[0].name / "result.json")
    with pytest.raises(ValueError, match="FEW_CASES"):
        Results.of([one])
