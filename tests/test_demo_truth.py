"""The embedded suspects, whose truth is known, are judged rightly by computation."""

from dataclasses import replace

import pytest
from lora_forensics.core.backends.loading import load_base
from lora_forensics.core.casework.screening import Question, screen
from lora_forensics.core.demo.assets import asset_path, load_truth
from lora_forensics.core.demo.showcase import DEMO
from lora_forensics.core.encoders import load_encoder
from lora_forensics.core.extraction.line import rule
from lora_forensics.core.images.sets import set_twins_aside
from lora_forensics.core.specs import ExtractSpec, MembershipSpec, ScreenSpec
from lora_forensics.core.studies.demo import study

# What `make demo` asks, without null models: they move no letter here, and take a minute each.
SPEC = ScreenSpec(membership=replace(DEMO.membership, nulls=0, signals="grid"))
QUICK = ScreenSpec(membership=MembershipSpec(noises=2, signals="grid"))


@pytest.fixture(scope="module")
def base():
    return load_base(asset_path("base"), device="cpu")


@pytest.fixture(scope="module")
def found(base):
    encoder = load_encoder("tiny")

    def run(name):
        truth = load_truth()[name]
        pair = study.load_pair(base, truth)
        photos = study.photos_of(truth.query, pair)
        controls = study.photos_of(truth.controls, pair, control=True)
        sets = set_twins_aside(photos, controls)
        assert sets.twins is None
        question = Question(sets=sets, prompts=(truth.prompt,), exchangeable=True)
        result = screen(pair, encoder, question, SPEC, lines=("membership",)).findings
        pair.close()
        return result

    return {name: run(name) for name in ("guilty_strong", "innocent", "placebo")}


def test_the_well_trained_suspect_is_found(found):
    assert found["guilty_strong"].membership.comparison.auc.auc >= 0.9
    assert found["guilty_strong"].verdict.letter == "A"


@pytest.mark.parametrize("name", ["innocent", "placebo"])
def test_the_others_are_not_accused(found, name):
    assert 0.35 <= found[name].membership.comparison.auc.auc <= 0.65
    assert found[name].verdict.letter in {"C", "D"}


def test_over_all_unseen_photos_the_others_lie_at_chance(base):
    """82 photos in place of 16: far less room for luck, in either direction."""
    for row in study.ask_unseen(base, QUICK):
        assert row["photos"] == 82
        assert 0.4 <= row["pooled"]["auc"] <= 0.6
        assert row["pooled_p"] > 0.01


def test_the_base_alone_cannot_tell_photos_from_controls(found):
    assert 0.35 <= found["guilty_strong"].membership.base_only_auc <= 0.65
    assert not found["guilty_strong"].probe.fails


def test_arms_of_the_study_ask_the_models_that_they_name():
    model = rule(ExtractSpec(guidance="model"), 2.0)
    assert {b.model for b in model.branches} == {0.0, 1.0}
    classifier_free = rule(ExtractSpec(guidance="cfg"), 3.0)
    assert {b.model for b in classifier_free.branches} == {1.0}
