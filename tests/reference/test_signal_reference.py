"""SecMI, PIA, PIAN, SimA and PFAMI against their authors' released code on one tiny model.

`author_scores.json` holds numbers that the authors' functions gave; `author_code.py` wrote it and
says how. With AUTHORS_PATH set to a folder of clones, their functions also run live.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from author_code import KEPT, REPOSITORIES, SPEC, TinyPair, author_scores, subjects
from lora_forensics.core.membership.signals.noisefree import (
    pia_stage,
    pian_stage,
    secmi_stage,
    sima_stage,
    start_stage,
)
from lora_forensics.core.membership.signals.queries import Ask
from lora_forensics.core.membership.signals.variants import fluctuation, pfami_stage
from lora_forensics.core.specs import SignalSpec
from lora_forensics.core.types import BASE, TUNED


def ask(spec=SPEC):
    return Ask(TinyPair(), subjects(), spec, (BASE, TUNED))


def our_scores():
    """What our stages measure, named like the authors' runs; rows are base and tuned."""
    a, ldm = ask(), SignalSpec(secmi_timestep=150)
    start = start_stage(a, {})
    both = pia_stage(a, start)["pia"]
    losses = pfami_stage(a, {})["pfami"]
    rise = fluctuation(losses)
    return {
        "secmi": secmi_stage(a, {})["secmi"].T,
        "secmi_ldm": secmi_stage(ask(ldm), {})["secmi"].T,
        "pia_100": both[..., 0].T,
        "pia_200": both[..., 1].T,
        "pian_200": pian_stage(a, start)["pian"][..., 0].T,
        "pia_repository_secmi": secmi_stage(a, {})["secmi"].T,
        "sima_100": sima_stage(a, {})["sima"].T,
        "pfami_losses": losses[:, :, 1:].permute(1, 0, 3, 2).flatten(1),
        "pfami_stat": rise[:, :, 5].mean(2).T,
        "pfami_calibrated_stat": (rise[:, 1, 5] - rise[:, 0, 5]).mean(1)[None],
    }


@pytest.fixture(scope="module")
def ours():
    return our_scores()


@pytest.fixture(scope="module")
def kept():
    return json.loads(KEPT.read_text())["scores"]


@pytest.fixture(scope="module")
def live():
    folder = os.environ.get("AUTHORS_PATH")
    if not folder:
        pytest.skip("AUTHORS_PATH is not set: it names a folder with clones of the authors' code")
    return author_scores(Path(folder))


NAMES = (
    "secmi",
    "secmi_ldm",
    "pia_100",
    "pia_200",
    "pian_200",
    "pia_repository_secmi",
    "sima_100",
    "pfami_losses",
    "pfami_stat",
    "pfami_calibrated_stat",
)


@pytest.mark.parametrize("name", NAMES)
def test_our_scores_equal_those_kept_of_the_authors_code(ours, kept, name):
    np.testing.assert_allclose(ours[name].numpy(), np.array(kept[name]), rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_our_scores_equal_the_authors_code_run_beside(ours, live, name):
    np.testing.assert_allclose(ours[name].numpy(), np.array(live[name]), rtol=1e-4)


def test_the_kept_scores_say_where_they_come_from():
    facts = json.loads(KEPT.read_text())
    assert facts["command"].startswith("AUTHORS_PATH=")
    assert {r["repository"] for r in facts["code"].values()} == set(REPOSITORIES.values())
    assert all(len(r["commit"]) == 40 and r["functions"] for r in facts["code"].values())
    assert set(facts["scores"]) == set(NAMES)


def test_the_two_models_and_the_photos_differ(kept):
    for name in NAMES:
        rows = np.array(kept[name])
        assert np.unique(rows.round(9)).size == rows.size, name
