"""A case that was made in a graph carries the shipped study's error rates, and its limits."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from lora_forensics.core.casework.screening import Findings
from lora_forensics.core.images.photos import FileFacts, Photos
from lora_forensics.core.rates import shipped_rates
from lora_forensics.core.specs import VerdictSpec
from lora_forensics.core.types import ImageBatch, ModelHashes, Source
from lora_forensics.core.verdicts.comparison import compare
from lora_forensics.core.verdicts.evidence import LossCurve, MembershipEvidence
from lora_forensics.core.verdicts.verdict import unjudged
from lora_forensics.nodes import _evidence

N, M = 8, 40


def pictures(kind, count):
    facts = tuple(FileFacts(f"{i}.png", f"{kind}{i}", 8, 8, "PNG", 1, 100) for i in range(count))
    sources = tuple(Source(kind, f"{kind}{i}", f"{i}.png") for i in range(count))
    return Photos(ImageBatch(torch.zeros(count, 3, 8, 8), sources), facts)


def findings(shift):
    rng = np.random.default_rng(0)
    comparison = compare(rng.normal(shift, 1, N), rng.normal(0, 1, M), VerdictSpec())
    curve = LossCurve((1.0,), (1.0,))
    evidence = MembershipEvidence(
        "s", "", (50,), 4, comparison, (1.0, 1.0), curve, curve, 0.5, 0.5, 0.1, 0.2, False, (), 1
    )
    return Findings(None, evidence, None, None, unjudged())


def suspect(**claims):
    stated = SimpleNamespace(steps=120, text={"unet_lr": "5e-4"}, **claims)
    inspection = SimpleNamespace(
        claims=stated, ranks={"8": 10}, exposure=SimpleNamespace(passes=120.0)
    )
    return SimpleNamespace(inspection=inspection, hashes=ModelHashes("b", "t"))


def known(base, family="SD15", shift=2.0):
    models = {"base_sha256": base, "family": family}
    return _evidence.known_of(
        suspect(), pictures("photo", N), pictures("control", M), findings(shift), models
    )


def test_a_case_on_the_studys_base_gets_its_rates_and_the_share_used():
    rates = shipped_rates()
    assert rates is not None
    told, membership = known(rates.base)
    assert told["outside"] == []
    assert {r["letter"] for r in told["letters"]} >= {"A", "B", "A or B"}
    assert membership.usage is not None
    assert 0 <= membership.usage.low <= membership.usage.high <= 1


def test_another_base_is_flagged_and_nothing_is_estimated():
    told, membership = known("another", "SDXL")
    assert any("not on this base" in text for text in told["outside"])
    assert any("sdxl" in text for text in told["outside"])
    assert told["likelihood"] is None
    assert membership.usage is None


def test_without_a_white_box_line_there_is_nothing_to_know():
    none = replace(findings(0.0), membership=None)
    made = _evidence.known_of(suspect(), pictures("photo", 2), pictures("control", 2), none, {})
    assert made == (None, None)
