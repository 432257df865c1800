import pytest
import torch
from lora_forensics.core.attack.arms import check_matched_arms
from lora_forensics.core.errors import InputError
from lora_forensics.core.sampling.guidance import cfg, model_guidance
from lora_forensics.core.types import BASE, TUNED, ImageBatch, Source


def arm(who, scales=(1.0, 7.5), seeds=(5, 6), prompt="p", side=8):
    sources = tuple(
        Source(
            kind="generated", sha256="", name="", prompt=prompt, seed=s, guidance=cfg(c, who).label
        )
        for c in scales
        for s in seeds
    )
    return ImageBatch(torch.zeros(len(sources), 3, side, side), sources)


def test_matched_arms_give_their_scales_in_any_order():
    assert check_matched_arms(arm(TUNED), arm(BASE, (7.5, 1.0), (6, 5))) == (1.0, 7.5)


@pytest.mark.parametrize(
    ("tuned", "base"),
    [
        (arm(TUNED), arm(BASE, scales=(1.0, 4.0))),
        (arm(TUNED), arm(BASE, seeds=(5, 7))),
        (arm(TUNED), arm(BASE, seeds=(5, 6, 7))),
        (arm(TUNED), arm(BASE, prompt="q")),
        (arm(TUNED), arm(BASE, side=16)),
        (arm(TUNED), arm(TUNED)),
        (arm(BASE), arm(BASE)),
        (arm(TUNED, seeds=()), arm(BASE, seeds=())),
    ],
)
def test_what_differs_is_refused(tuned, base):
    with pytest.raises(InputError, match="BAD_ARMS"):
        check_matched_arms(tuned, base)


def test_model_guidance_is_no_arm():
    one = arm(TUNED, (1.0,), (5,))
    odd = Source(
        kind="generated", sha256="", name="", prompt="p", seed=5, guidance=model_guidance(2.0).label
    )
    with pytest.raises(InputError, match=r"BAD_ARMS.*model w=2"):
        check_matched_arms(ImageBatch(one.pixels, (odd,)), arm(BASE, (1.0,), (5,)))
