"""Every baseline against scikit-learn or a computation written out here."""

import numpy as np
import pytest
import tiny_models
import torch
from lora_forensics.core.attack.baselines import BASELINES, base_calibrated, baseline_evidence
from lora_forensics.core.attack.baselines import reconstruction as redraw
from lora_forensics.core.attack.baselines.vectors import pixel_vectors
from lora_forensics.core.errors import InputError
from lora_forensics.core.specs import SampleSpec, VerdictSpec
from lora_forensics.core.storage import Work, open_case
from lora_forensics.core.types import BASE, TUNED
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

REFERENCES = {"zero_shot": 2, "reconstruction": 18}


def rows(n, d=12, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BASELINES)
def test_all_score_alike(name):
    reference, queries = rows(REFERENCES.get(name, 9)), rows(6, seed=1)
    scores = BASELINES[name](reference, queries)
    assert (scores.dtype, scores.shape) == (torch.float64, (6,))
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(
    ("reference", "queries", "code"),
    [
        (rows(4, 3), rows(2, 4), "BAD_SHAPE"),
        (rows(4)[0], rows(2), "BAD_SHAPE"),
        (rows(0), rows(2), "BAD_SHAPE"),
        (rows(2), rows(2) / 0, "NON_FINITE"),
        (rows(2) * torch.nan, rows(2), "NON_FINITE"),
    ],
)
def test_bad_vectors_are_refused(name, reference, queries, code):
    with pytest.raises(InputError, match=code):
        BASELINES[name](reference, queries)


@pytest.mark.parametrize("neighbours", [1, 5])
def test_gan_leaks_equals_sklearns_neighbours(neighbours):
    generated, queries = rows(40, 30), rows(11, 30, 1)
    for name, metric in (("gan_leaks", "euclidean"), ("gan_leaks_cosine", "cosine")):
        tree = NearestNeighbors(n_neighbors=neighbours, metric=metric, algorithm="brute")
        distances, _ = tree.fit(generated.double()).kneighbors(queries.double())
        found = BASELINES[name](generated, queries, neighbours=neighbours)
        assert np.allclose(found, -distances.mean(1), atol=1e-9), name


def test_set_membership_equals_sklearns_radius():
    generated, queries = rows(40, 4), rows(15, 4, 1)
    tree = NearestNeighbors(algorithm="brute").fit(generated.double())
    nearest = tree.kneighbors(queries.double(), 1)[0][:, 0]
    for share in (0.1, 0.5):
        radius = np.quantile(nearest, share)
        near = tree.radius_neighbors(queries.double(), radius + 1e-9, return_distance=False)
        found = BASELINES["set_membership"](generated, queries, share=share)
        assert np.allclose(found, [len(n) / 40 for n in near])
    with pytest.raises(InputError, match="OUT_OF_RANGE"):
        BASELINES["set_membership"](generated, queries, share=0.0)
    with pytest.raises(InputError, match="OUT_OF_RANGE"):
        BASELINES["gan_leaks"](generated, queries, neighbours=41)


def test_pixel_vectors_are_flat_pixels_between_minus_one_and_one():
    x = torch.randint(0, 256, (2, 3, 64, 64)).float() / 255
    assert torch.allclose(pixel_vectors(x), torch.stack([2 * i.flatten() - 1 for i in x]))
    picture = Image.new("RGB", (200, 130), (255, 0, 51))
    flat = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255
    small = torch.from_numpy(np.asarray(picture.resize((64, 64))).copy()).permute(2, 0, 1).float()
    assert torch.allclose(pixel_vectors(flat)[0], (small / 127.5 - 1).flatten(), atol=0.01)


def test_reconstruction_is_the_mean_cosine_with_an_images_own_drawings():
    generated, queries = rows(12), rows(4, seed=1)
    cosines = cosine_similarity(queries, generated)
    wanted = [cosines[i, 3 * i : 3 * i + 3].mean() for i in range(4)]
    assert np.allclose(BASELINES["reconstruction"](generated, queries), wanted, atol=1e-6)
    with pytest.raises(InputError, match="BAD_SHAPE"):
        BASELINES["reconstruction"](rows(11), queries)


@pytest.mark.parametrize("name", ["centroid", "gan_leaks", "gan_leaks_cosine", "set_membership"])
def test_calibration_cancels_what_the_base_knew(name):
    tuned, base, queries = rows(8), rows(8, seed=2), rows(5, seed=1)
    score = BASELINES[name]
    found = base_calibrated(score, tuned, base, queries)
    assert torch.equal(found, score(tuned, queries) - score(base, queries))
    assert torch.equal(base_calibrated(score, base, base, queries), torch.zeros(5).double())
    with pytest.raises(InputError, match=r"BAD_ARMS.*\[7"):
        base_calibrated(score, tuned, base[:7], queries)


def test_memorised_images_stand_out_after_calibration():
    base, photos, controls = rows(60), rows(20, seed=1), rows(20, seed=2)
    tuned = base.clone()
    tuned[:20] = photos + 0.3 * rows(20, seed=3)
    queries = torch.cat([photos, controls])
    scores = base_calibrated(BASELINES["gan_leaks"], tuned, base, queries)
    found = baseline_evidence(
        "gan_leaks", scores[:20], scores[20:], VerdictSpec(), calibrated=True, forwards=7
    )
    assert (found.name, found.calibrated, found.forwards) == ("gan_leaks", True, 7)
    assert found.comparison.auc.auc > 0.95
    with pytest.raises(InputError):
        baseline_evidence("gan_leaks", scores[:0], scores[20:], VerdictSpec())


def test_reconstructions_share_noise_between_the_arms_and_resume(tmp_path):
    pair = tiny_models.tiny_pair(tmp_path)
    spec = SampleSpec(steps=2, batch=4, seed=3)
    captions = ["a red house", "a cat", "a red house"]
    case = open_case(tmp_path / "case", {})
    more = {"spec": spec, "images": 2, "work": Work(case)}
    tuned = redraw.draw_reconstructions(pair, captions, **more)
    base = redraw.draw_reconstructions(pair, captions, model=BASE, **more)
    assert [s.prompt for s in tuned.sources] == [c for c in captions for _ in range(2)]
    assert [s.seed for s in tuned.sources] == [s.seed for s in base.sources]
    assert len({s.seed for s in tuned.sources}) == 6
    assert len(case.done) == 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair, "decode", lambda _: pytest.fail("drawn again"))
        again = redraw.draw_reconstructions(pair, captions, **more)
    assert torch.equal(again.pixels, tuned.pixels)
    case.close()
    for bad in ({"captions": []}, {"captions": ["a"], "images": 0}):
        with pytest.raises(InputError):
            redraw.plan_reconstructions(**{"model": TUNED, "run_seed": 0, **bad})
