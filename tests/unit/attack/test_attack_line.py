from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lora_forensics.core.attack import line as blackbox
from lora_forensics.core.attack.classifier import SeedResult
from lora_forensics.core.attack.files import AttackFacts, AttackModel
from lora_forensics.core.attack.scores import attack_evidence
from lora_forensics.core.errors import NotEnoughDataError
from lora_forensics.core.specs import ATTACK_PRESETS, AttackSpec, VerdictSpec
from lora_forensics.core.statistics.intervals import mean_seed_interval, paper_seed_interval
from lora_forensics.core.storage import Work, open_case
from lora_forensics.core.types import TUNED
from sklearn.metrics import roc_auc_score

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
    facts = AttackFacts(
        spec=SPEC,
        base_sha256="b",
        tuned_sha256="t",
        prompts=tuple(PROMPTS),
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
    blackbox.attack(*args, replace(SPEC, seeds=1), verdict, work=Work(case))
    assert set(case.done) == {"attack/seed-0"}
    whole = blackbox.attack(*args, SPEC, verdict, work=Work(case))
    assert set(case.done) == {"attack/seed-0", "attack/seed-1"}
    assert asdict(whole) == asdict(blackbox.attack(*args, SPEC, verdict))
    assert case.read_tensors("attack/seed-0")["curve"].shape == (SPEC.epochs, 2)
    monkeypatch.setattr(blackbox, "train_and_score", lambda *a, **k: pytest.fail("trained again"))
    assert asdict(blackbox.attack(*args, SPEC, verdict, work=Work(case))) == asdict(whole)
    case.close()


def test_progress_counts_epochs():
    seen = []
    progress = SimpleNamespace(
        start=lambda *facts: seen.append(facts), step=lambda *_: seen.append("step")
    )
    blackbox.train_classifiers(noise(8, 1), noise(8, 2), SPEC, progress=progress)
    assert seen == [("attack: classifiers", 2, 0), "step", "step"]


PAPER = replace(ATTACK_PRESETS["paper"], images=8, seeds=2, epochs=1, minibatch=8, side=32, steps=3)


def test_the_paper_preset_runs_and_says_what_it_is(arms, monkeypatch, tmp_path):
    photos, controls, seen = noise(20, 3), noise(20, 4), []
    pair = SimpleNamespace(encode=lambda _: pytest.fail("through the codec"))
    original = blackbox.train_and_score

    def spy(*args, watched, **more):
        seen.append(watched)
        return original(*args, watched=watched, **more)

    monkeypatch.setattr(blackbox, "train_and_score", spy)
    case = open_case(tmp_path / "case", {})
    args = (pair, photos, controls, PROMPTS, PAPER, VerdictSpec())
    found = blackbox.attack(*args, negatives=arms[0.0], negatives_from="shadow", work=Work(case))
    case.close()
    queries = torch.cat([photos, controls])
    for pixels, labels in seen:
        assert len(pixels) == len(labels) == 6
        rows = [(queries == one).flatten(1).all(1).nonzero().item() for one in pixels]
        assert labels.tolist() == [int(r < 20) for r in rows]
    assert not torch.equal(seen[0][0], seen[1][0])  # another draw each seed
    assert found.scores == "softmax"
    assert np.isnan(found.heldout_accuracy)
    assert 0 <= min(found.comparison.photo_scores) <= max(found.comparison.photo_scores) <= 1
    said = " ".join(found.notes)
    for word in ("random", "shadow", "last epoch", "15%", "codec"):
        assert word in said
    resumed = blackbox.attack(
        *args,
        negatives=arms[0.0],
        negatives_from="shadow",
        work=Work(open_case(tmp_path / "case", {})),
    )
    assert repr(resumed) == repr(found)
    assert len(seen) == 2


def results(spec, n=20, m=30):
    rng = torch.Generator().manual_seed(0)
    shift = torch.cat([torch.full((n,), 8.0), torch.zeros(m)])
    draws = torch.randn(spec.seeds, n + m, generator=rng, dtype=torch.float64) * 9
    return [SeedResult(row + shift, 1.0) for row in draws]


def judge(spec, found=None, pretrained=True, negatives_from="base"):
    return attack_evidence(
        found or results(spec), 20, spec, VerdictSpec(),
        negatives_from=negatives_from, pretrained=pretrained, images=8, forwards=0,
    )  # fmt: skip


def test_areas_over_seeds_have_the_papers_interval_and_students():
    found = judge(replace(SPEC, seeds=5))
    labels = [1] * 20 + [0] * 30
    aucs = [roc_auc_score(labels, r.logits) for r in results(replace(SPEC, seeds=5))]
    assert found.seed_aucs == pytest.approx(aucs)
    student, paper = mean_seed_interval(aucs), paper_seed_interval(aucs)
    assert (found.seed_low, found.seed_high) == pytest.approx((student.low, student.high))
    assert (found.paper_low, found.paper_high) == pytest.approx((paper.low, paper.high))
    assert found.seed_high - found.seed_low > 1.5 * (found.paper_high - found.paper_low)
    assert found.notes == ()


def test_the_papers_areas_leave_out_what_each_seed_watched():
    spec = replace(PAPER, seeds=3)
    found, given = judge(spec), results(spec)
    labels = np.array([1] * 20 + [0] * 30)
    for seed, (area, result) in enumerate(zip(found.seed_aucs, given, strict=True)):
        rows, watched = blackbox.judged_rows(20, 30, spec, seed)
        assert sorted([*rows, *watched]) == list(range(50))
        scores = torch.sigmoid(result.logits.float()).numpy()
        assert area == pytest.approx(roc_auc_score(labels[rows], scores[rows]), abs=1e-6)
    assert any("exactly 1 for up to" in note for note in found.notes)
    ordered = np.mean([torch.sigmoid(r.logits.float()).numpy() for r in given], 0)
    assert found.comparison.photo_scores == pytest.approx(ordered[:20], abs=1e-6)
    assert found.flagged_photos == pytest.approx((ordered[:20] > 0.5).mean())


def test_a_draw_without_photos_is_refused():
    spec = replace(PAPER, seeds=8, test_holdout=0.5)
    few = [SeedResult(torch.randn(4, dtype=torch.float64), 1.0) for _ in range(8)]
    with pytest.raises(NotEnoughDataError, match=r"TOO_FEW_PHOTOS.*test_holdout"):
        attack_evidence(
            few, 2, spec, VerdictSpec(),
            negatives_from="base", pretrained=True, images=8, forwards=0,
        )  # fmt: skip
