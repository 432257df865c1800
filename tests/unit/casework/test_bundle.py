"""One builder makes the case of every door, with the error rates of the shipped study."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lora_forensics.core.casework import bundle
from lora_forensics.core.casework.bundle import Circumstances, build_case, failed_case
from lora_forensics.core.casework.screening import Question
from lora_forensics.core.errors import LoraFormatError
from lora_forensics.core.images.photos import FileFacts, Photos
from lora_forensics.core.images.sets import Sets
from lora_forensics.core.rates.reading import shipped_rates
from lora_forensics.core.specs import VerdictSpec
from lora_forensics.core.types import ImageBatch, Source
from lora_forensics.core.verdicts.case import Findings, LookAlike
from lora_forensics.core.verdicts.comparison import compare
from lora_forensics.core.verdicts.verdict import unjudged
from white_box import white_box

N, M = 8, 40


def pictures(kind, count):
    facts = tuple(FileFacts(f"{i}.png", f"{kind}{i}", 8, 8, "PNG", 1, 100) for i in range(count))
    sources = tuple(Source(kind=kind, sha256=f"{kind}{i}", name=f"{i}.png") for i in range(count))
    return Photos(ImageBatch(torch.zeros(count, 3, 8, 8), sources), facts)


def findings(shift):
    rng = np.random.default_rng(0)
    comparison = compare(rng.normal(shift, 1, N), rng.normal(0, 1, M), VerdictSpec())
    return Findings(membership=white_box(comparison), verdict=unjudged())


def about(base="b", family="sd1", **more):
    stated = SimpleNamespace(steps=120, text={"unet_lr": "5e-4"})
    inspection = SimpleNamespace(
        claims=stated, ranks={"8": 10}, exposure=SimpleNamespace(passes=120.0)
    )
    models = {"base_sha256": base, "family": "the host's name"}
    return Circumstances(
        case_id="1", command="c", models=models, settings={}, family=family,
        inspection=inspection, **more,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def plain_inspection(monkeypatch):
    monkeypatch.setattr(bundle, "asdict", lambda given: {"steps": given.claims.steps})


def case(circumstances, found=None, n=N, m=M, **more):
    question = Question(sets=Sets(pictures("photo", n), pictures("control", m)), prompts=("p",))
    return build_case(
        question, found or findings(2.0), circumstances, rates=shipped_rates(), **more
    )


def test_a_case_on_the_studys_base_gets_its_rates_and_the_share_used():
    rates = shipped_rates()
    assert rates is not None
    built = case(about(rates.base))
    assert built.known_rates["outside"] == []
    assert {r["letter"] for r in built.known_rates["letters"]} >= {"A", "B", "A or B"}
    usage = built.membership.usage
    assert 0 <= usage.low <= usage.high <= 1


def test_another_base_is_flagged_and_nothing_is_estimated():
    built = case(about("another", "sdxl"))
    assert any("not on this base" in text for text in built.known_rates["outside"])
    assert any("sdxl" in text for text in built.known_rates["outside"])
    assert built.known_rates["likelihood"] is None
    assert built.membership.usage is None


def test_without_a_white_box_line_there_is_nothing_to_know():
    built = case(about(), replace(findings(0.0), membership=None), 2, 2)
    assert (built.known_rates, built.membership, built.forwards) == (None, None, 0)


def test_a_case_carries_findings_frame_and_the_pictures_that_are_kept():
    found = replace(findings(2.0), look_alikes=(LookAlike(0, "control 1", 0.9),))
    built = case(about(dropped=("twice.png",)), found, shown=["pictures/photo-0001.png"])
    assert built.forwards == found.membership.forwards
    assert built.look_alikes == found.look_alikes
    assert (built.duplicates_dropped, built.prompts) == (("twice.png",), ("p",))
    assert [p.picture for p in built.photos[:2]] == ["", "pictures/photo-0001.png"]
    assert {c.picture for c in built.controls} == {""}
    assert built.models["family"] == "the host's name"


def test_a_file_that_could_not_be_analyzed_is_a_case_and_never_clean():
    built = failed_case(
        LoraFormatError("NOT_A_LORA", "what it is"), command="c", models={"tuned": "a"}
    )
    assert built.verdict.letter == "ERROR"
    assert "NOT_A_LORA" in built.verdict.headline
    assert (built.photos, built.membership, built.forwards) == ((), None, 0)
