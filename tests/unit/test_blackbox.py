from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
from lora_forensics.core import blackbox
from lora_forensics.core.attack_files import AttackModel, attack_facts
from lora_forensics.core.specs import AttackSpec, VerdictSpec
from lora_forensics.core.storage import open_case
from lora_forensics.core.types import TUNED, ModelHashes

SPEC = AttackSpec(images=8, seeds=2, epochs=1, minibatch=8, learning_rate=1e-3, side=32, steps=3)
PROMPTS = ["a", "b"]
PAIR = SimpleNamespace(encode=lambda x: x, decode=lambda x: x)


def noise(n, seed):
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def arms(monkeypatch):
    """Both arms without a diffusion model."""
    drawn = {TUNED: noise(8, 1), 1 - TUNED: noise(8, 2) * 0.8}
    monkeypatch.setattr(
        blackbox,
        "draw_arm",
        lambda pair, prompts, model, spec, **_: SimpleNamespace(pixels=drawn[model]),
    )
    return drawn


def test_kept_classifiers_give_the_evidence_of_the_verb(arms):
    photos, controls, verdict = noise(5, 3), noise(6, 4), VerdictSpec()
    direct = blackbox.attack(PAIR, photos, controls, PROMPTS, SPEC, verdict)
    forwards = blackbox.planned_forwards(PROMPTS, SPEC)
    facts = attack_facts(
        SPEC,
        ModelHashes("b", "t"),
        PROMPTS,
        negatives_from="base",
        pretrained=False,
        images=8,
        forwards=forwards,
    )
    model = AttackModel(blackbox.train_classifiers(arms[1.0], arms[0.0], SPEC), facts)
    later = blackbox.score_attack(model, photos, controls, verdict)
    assert asdict(later) == asdict(direct)
    assert (later.images, later.forwards, later.negatives) == (8, forwards, "base")
    assert len(later.seed_aucs) == 2


@pytest.mark.usefixtures("arms")
def test_finished_seeds_are_kept_and_not_trained_again(tmp_path, monkeypatch):
    photos, controls, verdict = noise(5, 3), noise(6, 4), VerdictSpec()
    case = open_case(tmp_path / "case", {"a": 1})
    args = (PAIR, photos, controls, PROMPTS)
    blackbox.attack(*args, replace(SPEC, seeds=1), verdict, case=case)
    assert set(case.done) == {"attack/seed-0"}
    whole = blackbox.attack(*args, SPEC, verdict, case=case)
    assert set(case.done) == {"attack/seed-0", "attack/seed-1"}
    assert asdict(whole) == asdict(blackbox.attack(*args, SPEC, verdict))
    monkeypatch.setattr(blackbox, "train_and_score", lambda *a, **k: pytest.fail("trained again"))
    assert asdict(blackbox.attack(*args, SPEC, verdict, case=case)) == asdict(whole)
    case.close()


def test_progress_counts_epochs():
    seen = []
    progress = SimpleNamespace(
        start=lambda *facts: seen.append(facts), step=lambda *_: seen.append("step")
    )
    blackbox.train_classifiers(noise(8, 1), noise(8, 2), SPEC, progress=progress)
    assert seen == [("attack: classifiers", 2, 0), "step", "step"]
