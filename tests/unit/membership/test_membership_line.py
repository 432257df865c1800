"""The white-box line: what is passed through to the evidence."""

import torch
from gaussian_pair import GaussianPair
from lora_forensics.core.images.photos import FileFacts, Photos
from lora_forensics.core.images.sets import Sets
from lora_forensics.core.membership.line import planned_forwards, screen_membership
from lora_forensics.core.specs import MembershipSpec, ScreenSpec
from lora_forensics.core.storage import Work, open_case
from lora_forensics.core.types import ImageBatch, Source

SPEC = ScreenSpec(membership=MembershipSpec(timesteps=(100, 400), noises=4, signals="deep"))


class Reader(GaussianPair):
    """The tuned model knows one caption: with it, it denoises what lies at its mean."""

    def condition(self, prompts, strengths):
        known = [s * float("fox" in p) for p, s in zip(prompts, strengths, strict=True)]
        return super().condition(prompts, known)


def pictures(kind, count, mean, seed, burst=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = mean + 0.1 * torch.randn(count, 3, 8, 8, generator=generator)
    sources = tuple(Source(kind=kind, sha256=f"{kind}{i}", name=f"{i}.png") for i in range(count))
    bursts = [f"burst {i // burst}" if burst else "" for i in range(count)]
    facts = tuple(FileFacts("a.png", "", 8, 8, "PNG", 1, 100.0, session=b) for b in bursts)
    return Photos(ImageBatch(pixels, sources), facts)


def screened(captions, burst=0, **more):
    sets = Sets(pictures("photo", 8, 0.75, 1, burst), pictures("control", 24, 0.75, 2, burst))
    return screen_membership(
        Reader(), sets, ("a fox",), SPEC,
        captions=captions, embed=lambda x: torch.nn.functional.normalize(x.flatten(1)), **more,
    ).evidence  # fmt: skip


def test_captions_that_differ_are_controlled_and_others_are_not(tmp_path):
    own = ("a fox",) * 8 + ("a cat",) * 24
    case = open_case(tmp_path / "case", {})
    checked = screened(own, work=Work(case))
    assert checked.captions is not None
    assert checked.captions.dependent, "only the photos' own captions say fox"
    assert checked.captions.aucs["paired"] > 0.95
    assert checked.captions.p["trigger"] > 0.05
    again = screened(own, work=Work(case))
    case.close()
    assert again.captions == checked.captions
    for same in ((), ("a fox",) * 32):
        plain = screened(same)
        assert plain.captions is None
        assert checked.forwards - plain.forwards == 5 * 2 * 4 * 32


def test_the_plan_counts_prompt_controls_only_where_captions_are_known():
    plain = planned_forwards(8, 24, SPEC)
    assert planned_forwards(8, 24, SPEC, captioned=True) - plain == 5 * 2 * 4 * 32


def test_sessions_reach_every_interval():
    found = screened((), burst=4)
    assert "bootstrap" in found.comparison.auc.method
    assert (found.comparison.photo_sessions, found.comparison.control_sessions) == (2, 6)
    methods = {s.auc.method for s in found.signals}
    assert methods <= {"percentile bootstrap", "disjoint pairs, exact binomial"}
