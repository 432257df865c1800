"""Half precision: the rows of one batch against the host's own loader, on the CPU."""

from __future__ import annotations

import pytest
import torch
from lora_forensics.core.types import BASE, TUNED

from .inprocess import conditioning
from .native_checkpoints import SD15_BARE
from .test_host_pair import host_prediction, lora

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def half(comfy, native_folder):
    """SD1.5 that computes in float16, as on most GPUs."""
    path = native_folder / "checkpoints" / SD15_BARE
    found = comfy.sd.load_checkpoint_guess_config(str(path), model_options={"dtype": torch.float16})
    # On a CPU the host would cast to float32 before it computes.
    found[0].model.manual_cast_dtype = None
    return found[0], found[2]


@pytest.mark.parametrize("name", ["sd15_kohya", "sd15_locon", "sd15_dora", "sd15_loha"])
def test_rows_equal_the_loaders_result_in_half_precision(comfy, native_folder, half, name):
    from comfy.sampler_helpers import convert_cond
    from lora_forensics.nodes._pair import HostRows, compute_dtype
    from lora_forensics.nodes._suspect import suspect_from_file

    model, vae = half
    suspect = suspect_from_file(lora(native_folder, name), model, None, 1.0)
    assert compute_dtype(model) == torch.float16
    cond = conditioning("sd15")
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode(), suspect.pair(vae, 64) as pair:
        sigma = pair.sigmas[300].float().expand(1)
        rows = HostRows(
            (convert_cond(cond)[0],) * 2, torch.tensor([BASE, TUNED]), torch.device("cpu")
        )
        base, tuned = pair(x.repeat(2, 1, 1, 1), sigma.repeat(2), rows).split(1)
    with torch.inference_mode():
        wanted = [host_prediction(comfy, m, x, sigma, cond) for m in (suspect.base, suspect.tuned)]
    for got, right in zip((base, tuned), wanted, strict=True):
        assert (got - right).norm() <= TOLERANCE * right.norm()
    assert (wanted[1] - wanted[0]).norm() > 3 * TOLERANCE * wanted[0].norm()
