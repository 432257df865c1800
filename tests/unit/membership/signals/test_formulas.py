"""Single signals against closed forms and hand-made numbers."""

import numpy as np
import pytest
import torch
from gaussian_pair import GaussianPair
from lora_forensics.core.errors import InputError
from lora_forensics.core.membership.signals import (
    Subjects,
    caption_dependent,
    fusion,
    fusion_against,
    gap_controls,
    residual,
)
from lora_forensics.core.membership.signals.conditional import robust, shuffled, thirds
from lora_forensics.core.membership.signals.grid import places
from lora_forensics.core.membership.signals.noisefree import (
    pia_stage,
    rescaled,
    secmi_stage,
    secmi_targets,
    sima_stage,
    start_stage,
)
from lora_forensics.core.membership.signals.queries import Ask
from lora_forensics.core.membership.signals.variants import (
    recompressed,
    slope,
    trimmed,
    zoomed,
)
from lora_forensics.core.specs import SignalSpec
from lora_forensics.core.types import BASE, TUNED
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import RobustScaler

SPEC = SignalSpec()


def ask(n=3, mean=0.4, spread=0.5, v_pair=None):
    pair = v_pair or GaussianPair(mean=mean, spread=spread)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(n, 3, 8, 8, generator=generator, dtype=torch.float64)
    return Ask(pair, Subjects(latents, latents, ("",) * n), SPEC, (BASE, TUNED))


def gaussian_eps(pair, z, t, tuned):
    """The exact noise estimate of ``N(m, s^2)`` at a variance-preserving input."""
    mean, variance = (pair.mean, pair.spread**2) if tuned else (0.0, 1.0)
    sigma2 = pair.sigmas[t] ** 2
    keep = 1 / (1 + sigma2).sqrt()
    add = pair.sigmas[t] * keep
    return add * (z - keep * mean) / (keep**2 * variance + add**2)


def test_sima_is_the_closed_form():
    a = ask()
    found = sima_stage(a, {})["sima"]
    for tuned in (False, True):
        eps = gaussian_eps(a.pair, a.subjects.latents, 100, tuned)
        assert torch.allclose(found[:, int(tuned)], eps.pow(4).flatten(1).sum(1), rtol=1e-5)


def test_pia_is_the_closed_form():
    a = ask()
    found = pia_stage(a, start_stage(a, {}))["pia"]
    x0 = a.subjects.latents
    for tuned in (False, True):
        e0 = gaussian_eps(a.pair, x0, 0, tuned)
        sigma2 = a.pair.sigmas[200] ** 2
        z = x0 / (1 + sigma2).sqrt() + (sigma2 / (1 + sigma2)).sqrt() * e0
        left = (e0 - gaussian_eps(a.pair, z, 200, tuned)).pow(4).flatten(1).sum(1)
        assert torch.allclose(found[:, int(tuned), 1], left, rtol=1e-5)


def test_secmi_is_the_closed_form():
    a = ask()
    found = secmi_stage(a, {})["secmi"]
    sigmas = a.pair.sigmas
    for tuned in (False, True):
        x = a.subjects.latents * (1 + sigmas[0] ** 2).sqrt()
        at = lambda y, t: gaussian_eps(a.pair, y / (1 + sigmas[t] ** 2).sqrt(), t, tuned)  # noqa: B023, E731
        for t in range(0, 90, 10):
            x = x + (sigmas[t + 10] - sigmas[t]) * at(x, t)
        there = x + (sigmas[100] - sigmas[90]) * at(x, 90)
        back = there + (sigmas[90] - sigmas[100]) * at(there, 100)
        error = ((back - x) / (1 + sigmas[90] ** 2).sqrt()).square().flatten(1).sum(1)
        assert torch.allclose(found[:, int(tuned)], error, rtol=1e-3)


def test_secmi_compares_the_states_of_timestep_90():
    assert secmi_targets(SPEC) == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_pian_has_the_mean_size_of_a_standard_normal():
    start = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 7
    mean = rescaled(start).abs().flatten(2).mean(2)
    assert torch.allclose(mean, torch.full((2, 3), (2 / torch.pi) ** 0.5))


def test_votes_heat_and_error_ratio_by_hand():
    base = torch.tensor([[[[4.0, 1.0], [1.0, 1.0]]]])
    tuned = torch.tensor([[[[1.0, 2.0], [2.0, 1.0]]]])
    found = places(base, tuned, (1, 2))
    assert found["heat"][0].tolist() == [[3.0, -1.0], [-1.0, 0.0]]
    # side 1: one for, two against, one tie; side 2: the mean is above 0
    assert found["votes"].tolist() == [pytest.approx((-0.25 + 1.0) / 2)]
    # the tuned model's errors above its median (1.0): the two places of error 2
    assert (found["better"].item(), found["worse"].item()) == (0.0, 2.0)


def test_one_outlier_moves_the_difference_but_hardly_the_votes():
    base = torch.ones(1, 1, 16, 16)
    tuned = base * 0.9
    tuned[0, 0, 0, 0] = 1000.0
    found = places(base, tuned, (1,))
    assert found["heat"].mean() < 0
    assert found["votes"].item() > 0.98


def test_windows_larger_than_the_latent_are_left_out():
    a, b = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(places(a, b, (1, 2, 16))["votes"], places(a, b, (1, 2))["votes"])


def test_video_latents_have_a_heat_map_of_one_frame():
    a, b = torch.rand(2, 2, 3, 5, 4, 4, generator=torch.Generator().manual_seed(2))
    assert places(a, b, (1,))["heat"].shape == (2, 4, 4)


def test_the_robust_scaler_is_scikit_learns():
    values = torch.randn(31, generator=torch.Generator().manual_seed(3)).double()
    expected = RobustScaler().fit_transform(values.numpy()[:, None])[:, 0]
    np.testing.assert_allclose(robust(values).numpy(), expected, rtol=1e-9)
    assert robust(torch.full((3,), 2.0)).tolist() == [0, 0, 0]


def test_thirds_hold_every_word_once():
    caption = "one two three four five six seven"
    assert " ".join(thirds(caption)).split() == caption.split()
    assert thirds("word") == ("", "", "word")


def test_no_caption_stays_with_its_image():
    captions = tuple("abcdefg")
    for seed in range(20):
        moved = shuffled(captions, seed)
        assert sorted(moved) == sorted(captions)
        assert all(a != b for a, b in zip(moved, captions, strict=True))
    with pytest.raises(InputError, match="BAD_SIGNAL"):
        shuffled(("a",), 0)


class Reader(GaussianPair):
    """The tuned model knows one caption: with it, it denoises what lies at its mean."""

    def condition(self, prompts, strengths):
        known = [s * float("fox" in p) for p, s in zip(prompts, strengths, strict=True)]
        return super().condition(prompts, known)


def test_gap_controls_ask_five_grids_and_find_the_caption():
    pair, spec = Reader(), SignalSpec(timesteps=(100, 400), noises=2)
    x = 0.5 + 0.2 * torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    captions = ("a fox", "a fox", "a cat", "a cat")
    found = gap_controls(pair, Subjects(x, x, captions), spec, "a fox")
    assert pair.rows == 4 * 4 * 5
    assert (found["paired"][:2] > 0).all()
    assert (found["paired"][2:] == 0).all()
    assert (found["trigger"] > 0).all()
    assert (found["generic"] == 0).all()


def test_gap_controls_need_captions():
    x = torch.zeros(2, 3, 8, 8)
    with pytest.raises(InputError, match="BAD_SIGNAL"):
        gap_controls(GaussianPair(), Subjects(x, x, ("a", "")), SPEC, "t")
    with pytest.raises(InputError, match="BAD_SIGNAL"):
        gap_controls(GaussianPair(), Subjects(x, x, ("a", "b")), SPEC, " ")


def test_a_gap_of_the_paired_caption_alone_is_labelled():
    rng = np.random.default_rng(0)
    names = ("paired", "trigger", "shuffled", "generic")
    controls = {k: rng.normal(size=40) for k in names}
    none = {k: rng.normal(size=12) for k in names}
    alone = none | {"paired": none["paired"] + 3}
    everywhere = {k: v + 3 for k, v in none.items()}
    assert caption_dependent(alone, controls).dependent
    assert not caption_dependent(none, controls).dependent
    assert not caption_dependent(everywhere, controls).dependent


def test_the_residual_is_scikit_learns_line_and_ratio_at_beta_one():
    rng = np.random.default_rng(1)
    base, noise = np.exp(rng.normal(size=30)), rng.normal(size=30, scale=0.1)
    tuned = base**1.4 * np.exp(noise)
    found = residual(base[:5], tuned[:5], base[5:], tuned[5:])
    line = LinearRegression().fit(np.log(base[5:, None]), np.log(tuned[5:]))
    assert found.beta == pytest.approx(line.coef_[0])
    expected = line.predict(np.log(base[:5, None])) - np.log(tuned[:5])
    np.testing.assert_allclose(found.photos, expected)
    np.testing.assert_allclose(found.betas["1"], np.log(base[:5] / tuned[:5]))
    np.testing.assert_allclose(found.betas["0"], -np.log(tuned[:5]))


def test_controls_of_the_residual_are_left_out_of_their_own_line():
    rng = np.random.default_rng(2)
    base, tuned = np.exp(rng.normal(size=(2, 12)))
    found = residual(base[:1], tuned[:1], base, tuned)
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        one = residual(base[i : i + 1], tuned[i : i + 1], base[rest], tuned[rest])
        assert found.controls[i] == pytest.approx(one.photos[0])


def test_residual_refuses_bad_losses():
    with pytest.raises(InputError, match="NOT_ENOUGH_CONTROLS"):
        residual([1.0], [1.0], [1.0, 2.0], [1.0, 2.0])
    with pytest.raises(InputError, match="BAD_LOSS"):
        residual([0.0], [1.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])


def test_fusion_is_symmetric_in_the_images():
    rng = np.random.default_rng(3)
    scores = {k: rng.normal(size=20) for k in ("a", "b")}
    order = rng.permutation(20)
    moved = {k: v[order] for k, v in scores.items()}
    np.testing.assert_allclose(fusion(scores, ("a", "b"))[order], fusion(moved, ("a", "b")))
    assert fusion(scores | {"b": np.zeros(20)}, ("a", "b")).std() == pytest.approx(0.5)


def test_fusion_against_controls_uses_their_scale():
    controls = {"a": np.array([0.0, 2.0]), "b": np.array([0.0, 20.0])}
    photo = {"a": np.array([3.0]), "b": np.array([30.0])}
    assert fusion_against(photo, controls, ("a", "b")).tolist() == [2.0]
    with pytest.raises(InputError, match=r"BAD_SIGNAL.*sima_delta"):
        fusion_against(photo, controls, ("a", "sima_delta"))


def test_trimmed_mean_and_slope():
    assert trimmed(torch.tensor([[1.0, 9.0, 3.0, 2.0]])).tolist() == [2.5]
    x = torch.tensor([0.5, 1.0, 2.0])
    assert slope(x, 3 * x[None]).tolist() == [pytest.approx(3.0)]


def test_copies_keep_the_size_and_differ():
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    for copy in (zoomed(pixels, 0.9), recompressed(pixels, 85)):
        assert copy.shape == pixels.shape
        assert copy.min() >= 0
        assert copy.max() <= 1
        assert not torch.allclose(copy, pixels)
    assert torch.allclose(recompressed(pixels * 0 + 0.5, 85), pixels * 0 + 0.5, atol=0.01)
