import pytest
import torch
from gaussian_pair import GaussianPair
from interruptions import Interrupt
from lora_forensics.core.errors import ForensicsError
from lora_forensics.core.sampling.generation import generate, unit_of
from lora_forensics.core.sampling.guidance import cfg, model_guidance
from lora_forensics.core.sampling.plans import plan
from lora_forensics.core.specs import SampleSpec
from lora_forensics.core.storage import Work, open_case

SPEC = SampleSpec(steps=4, batch=4)
RULES = [cfg(1.0), model_guidance(1.5)]


def test_batch_size_and_order_change_no_image():
    jobs = plan(["p"], RULES, 5, 3)
    one = generate(GaussianPair(), jobs, SPEC)
    single = generate(GaussianPair(), jobs, SampleSpec(steps=4, batch=1))
    turned = generate(GaussianPair(), jobs[::-1], SPEC)
    assert torch.equal(one.pixels, single.pixels)
    assert torch.equal(one.pixels, turned.pixels.flip(0))
    assert len({s.sha256 for s in one.sources}) == len(jobs)


def test_interrupted_run_resumes_to_the_same_images(tmp_path):
    jobs = plan(["p"], RULES, 6, 0)
    whole = generate(GaussianPair(), jobs, SPEC)
    case = open_case(tmp_path / "c", {})
    with pytest.raises(KeyboardInterrupt):
        generate(GaussianPair(), jobs, SPEC, work=Work(case, Interrupt(24)))
    kept = len(case.done)
    assert 0 < kept < len(jobs)
    case.close()
    pair = GaussianPair()
    again = generate(pair, jobs, SPEC, work=Work(open_case(tmp_path / "c", {})))
    assert torch.equal(again.pixels, whole.pixels)
    cost = sum(len(j.guidance.branches) for j in jobs)
    assert 0 < pair.rows < cost * SPEC.steps


def test_equal_jobs_are_sampled_once():
    jobs = plan(["p"], [cfg(1.0), model_guidance(1.0)], 3, 0)
    assert unit_of(jobs[0], SPEC) != unit_of(jobs[3], SPEC)  # labels are provenance
    pair = GaussianPair()
    generate(pair, jobs[:3] + jobs[:3], SPEC)
    assert pair.rows == 3 * SPEC.steps


def test_every_image_says_how_it_was_made():
    images = generate(GaussianPair(), plan(["a", "b"], RULES, 2, 9), SPEC)
    made = [(s.prompt, s.guidance) for s in images.sources]
    assert made == [
        ("a", "tuned cfg=1"),
        ("b", "tuned cfg=1"),
        ("a", "model w=1.5"),
        ("b", "model w=1.5"),
    ]
    assert images.sources[0].seed == images.sources[2].seed
    assert images.sources[0].seed != images.sources[1].seed


def test_constant_images_are_an_error_not_a_result():
    class Broken(GaussianPair):
        def decode(self, latents):
            return torch.full_like(latents, torch.nan)

    with pytest.raises(ForensicsError, match="BAD_SAMPLES"):
        generate(Broken(), plan(["p"], RULES, 2, 0), SPEC)


def test_large_images_are_held_small_but_kept_and_hashed_native(tmp_path):
    jobs = plan(["p"], [cfg(1.0)], 2, 0)
    native = generate(GaussianPair(side=16), jobs, SPEC)
    case = open_case(tmp_path / "c", {})
    small = generate(GaussianPair(side=16), jobs, SPEC, work=Work(case), max_side=8)
    assert small.pixels.shape[-2:] == (8, 8)
    assert [s.sha256 for s in small.sources] == [s.sha256 for s in native.sources]
    resumed = generate(GaussianPair(side=16), jobs, SPEC, work=Work(case))
    assert torch.equal(resumed.pixels, native.pixels)
