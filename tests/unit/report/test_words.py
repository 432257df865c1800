"""What every door says in plain text about null models, decoys, baselines and the attack."""

from dataclasses import replace

import numpy as np
import torch
from lora_forensics.core.attack.baselines import BASELINES
from lora_forensics.core.attack.classifier import SeedResult
from lora_forensics.core.attack.scores import attack_evidence
from lora_forensics.core.decoys import DecoyRank
from lora_forensics.core.membership.null_ranks import null_rank
from lora_forensics.core.report import words
from lora_forensics.core.specs import ATTACK_PRESETS, AttackSpec, VerdictSpec
from lora_forensics.core.verdicts.comparison import compare
from lora_forensics.core.verdicts.evidence import CaptionControls

SCORES = np.random.default_rng(0).normal(size=(21, 30))


def test_null_models_say_kind_number_p_and_floor():
    high = SCORES[0] + 5 * (np.arange(30) < 10)
    rank = null_rank("placebo", high, list(SCORES[1:20]), 10, note="19 LoRAs of one folder")
    text = words.null_words(rank)
    assert text.startswith("19 null models trained on other photos: effect +")
    assert text.endswith("p = 0.05 (floor 0.05); 19 LoRAs of one folder")


def test_decoys_say_rank_floor_and_commitment():
    rank = DecoyRank(0.5, 0.5, 1, "mark", "c0ffee", 1.0, (2.0,), contrast_only=True)
    text = words.decoy_words(rank)
    assert "1 decoys +2.0000 to +2.0000; p = 0.5 (floor 0.5); one decoy gives a contrast" in text
    assert text.endswith("commitment c0ffee")
    assert "contrast" not in words.decoy_words(replace(rank, contrast_only=False))


def test_every_baseline_a_node_offers_is_explained():
    assert set(words.BASELINE_WORDS) == set(BASELINES) - {"zero_shot"}
    found = compare(SCORES[0][:10], SCORES[0][10:], VerdictSpec())
    plain, less = (words.baseline_words("gan_leaks", found, calibrated=c) for c in (False, True))
    assert "minus the same under the base's images" in less
    assert plain.split(". AUC")[1] == less.split(". AUC")[1]


def evidence(spec, seeds):
    results = [SeedResult(torch.from_numpy(SCORES[s]), 0.9, ()) for s in range(seeds)]
    return attack_evidence(
        results, 10, spec, VerdictSpec(), negatives_from="base", pretrained=False, images=4,
        forwards=0,
    )  # fmt: skip


def test_attack_says_both_intervals_and_its_notes():
    text = words.attack_words(evidence(ATTACK_PRESETS["paper"], 5))
    assert "Over 5 seeds the AUC is" in text
    assert "the paper's too narrow interval" in text
    assert text.count("\n") == len(evidence(ATTACK_PRESETS["paper"], 5).notes) >= 4
    assert "intervals" not in words.attack_words(evidence(AttackSpec(), 1))
    assert "Over 1 seeds" not in words.attack_words(evidence(AttackSpec(), 1))


def test_captions_say_whether_the_gap_is_theirs():
    controls = CaptionControls({"paired": 0.8, "shuffled": 0.5}, {"paired": 0.01}, dependent=True)
    assert "paired 0.800, shuffled 0.500; it depends on" in words.captions_words(controls)
    assert "outlives" in words.captions_words(replace(controls, dependent=False))
