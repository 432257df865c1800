"""What each line adds and its known error rates: signals, captions, nulls, heat maps, study."""

import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from lora_forensics.core.rates.scope import sentences
from lora_forensics.core.report import membership_view
from lora_forensics.core.report.html import render_html
from lora_forensics.core.report.redaction import redact
from lora_forensics.core.report.signals_view import signals_view
from lora_forensics.core.specs import DecoySpec
from report_findings import likelihood_of
from test_report_html import Page

NO_STUDY = "No calibration study covers this case"
pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture
def case(every_case: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(every_case["A"])


def words(case: dict[str, Any], root: Path) -> str:
    page = Page(render_html(case, root))
    assert page.wrong == []
    assert page.open == []
    return page.words


def weighed(case: dict[str, Any], root: Path, ratio: float, **changed: Any) -> str:
    case["known_rates"]["likelihood"] = likelihood_of(ratio) | changed
    return words(case, root)


def test_signals_are_grouped_and_sorted(case: dict[str, Any]) -> None:
    groups = signals_view(case)["groups"]
    titles = [[r["title"] for r in rows] for _, rows in groups]
    assert titles == [
        ["Base delta"],
        ["Fusion", "SimA, base-calibrated"],
        ["SecMI-stat", "Loss, Monte Carlo"],
    ]
    assert "Published attacks" in groups[2][0]


def test_what_the_signals_add_is_counted(case: dict[str, Any]) -> None:
    found, against = signals_view(case)["said"]
    assert "2 of 4 other signals find a difference (Holm-adjusted p at most 0.01)" in found
    assert "highest AUC among them is 0.945 (Fusion)" in found
    assert "above 2 of 2 published attacks, level with 0 and below 0" in against
    assert "0.732 (SecMI-stat)" in against


def test_the_level_is_the_cases_own(case: dict[str, Any]) -> None:
    case["settings"]["verdict"] = {"alpha_strong": 0.0001}
    assert "0 of 4 other signals find a difference" in signals_view(case)["said"][0]


def test_ties_and_defeats_are_said(case: dict[str, Any]) -> None:
    own, secmi = case["membership"]["comparison"], case["membership"]["signals"][3]
    for one in case["membership"]["signals"][:2]:
        one["auc"]["auc"] = 0.99
    secmi["auc"]["auc"] = own["auc"]["auc"]
    case["membership"]["signals"][2]["auc"]["auc"] = 0.98
    found, against = signals_view(case)["said"]
    assert "is 0.990, shared by 2." in found
    assert "above 0 of 2 published attacks, level with 1 and below 1" in against


def test_signals_are_printed_with_source_and_cost(case: dict[str, Any], root: Path) -> None:
    said = words(case, root)
    assert "Every signal" in said
    assert "SecMI-stat SecMI (2302.01316)" in said
    assert "Left out: reconstruction (no embedding was given)." in said
    assert "none of them raises the verdict" in said


def test_old_cases_have_no_other_signals(case: dict[str, Any], root: Path) -> None:
    for key in ("signals", "left_out", "captions", "usage"):
        del case["membership"][key]
    for key in ("known_rates", "decoys"):
        del case[key]
    for photo in case["photos"]:
        del photo["heat"]
    said = words(case, root)
    for absent in ("Every signal", "Left out:", "Caption controls", "How many of the photos"):
        assert absent not in said
    for absent in ("Where the adapter helps", "Rank among decoys", "Weight of the evidence"):
        assert absent not in said
    assert NO_STUDY in said


def test_unmeasurable_values_are_said(case: dict[str, Any], root: Path) -> None:
    one = case["membership"]["signals"][0]
    one["auc"] = dict.fromkeys(("auc", "low", "high"))
    one["tpr"]["estimable"] = False
    assert "too few controls" in words(case, root)


def test_caption_controls(case: dict[str, Any], root: Path) -> None:
    said = words(case, root)
    assert "Its own caption 0.710 0.002 One prompt for all 0.520 0.40" in said
    assert "Caption-dependent." in said
    case["membership"]["captions"]["dependent"] = False
    assert "Caption-dependent." not in words(case, root)


def test_the_share_of_photos_used(case: dict[str, Any], root: Path) -> None:
    said = words(case, root)
    assert "About 87% of these photos (61% to 100%)" in said
    assert "12 of 20 photos were called" in said
    assert "it names no photo" in said


def test_ranks_among_trained_nulls_are_a_column(case: dict[str, Any], root: Path) -> None:
    noise, placebo = case["membership"]["null_ranks"]
    placebo["photo_p"] = [0.15] * 20
    shown = membership_view.membership_view(case, root)
    assert shown is not None
    assert {r["rank_p"] for r in shown["rows"]} == {0.15}
    assert "Rank among trained nulls, p" in words(case, root)
    harder = {**placebo, "kind": "counterfactual", "p": 0.2, "photo_p": [0.35] * 20}
    case["membership"]["null_ranks"].append(harder)
    shown = membership_view.membership_view(case, root)
    assert shown is not None
    assert {r["rank_p"] for r in shown["rows"]} == {0.35}
    case["membership"]["null_ranks"] = [noise]
    assert "Rank among trained nulls" not in words(case, root)


def test_heat_maps_of_the_shortlist(case: dict[str, Any], root: Path) -> None:
    listed = set(case["membership"]["comparison"]["shortlist"])
    page = Page(render_html(case, root))
    shown = [i["alt"] for i in page.all("img") if str(i["alt"]).startswith("Heat map")]
    assert len(shown) == len({i for i in listed if i < 8})
    assert "Photos of the shortlist." in page.words
    assert "they show places" in page.words


def test_heat_maps_without_a_shortlist(case: dict[str, Any], root: Path) -> None:
    case["membership"]["comparison"]["shortlist"] = []
    shown = membership_view.membership_view(case, root)
    assert shown is not None
    scores = [p["score"] for p in shown["heat"]["pairs"]]
    kept = case["membership"]["comparison"]["photo_scores"][:8]
    assert scores == sorted(kept, reverse=True)[:6]
    assert "these are the highest scores" in words(case, root)


def test_many_heat_maps_are_cut(
    case: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership_view, "MOST_HEAT", 2)
    assert "4 more in the case folder." in words(case, root)


def test_missing_heat_maps_have_a_placeholder(case: dict[str, Any], root: Path) -> None:
    for photo in case["photos"]:
        photo["heat"], photo["picture"] = "photos/none.png", ""
    said = words(case, root)
    assert "heat map is missing or unreadable" in said
    assert "photo was not kept in the case folder" in said


def test_a_redacted_page_has_no_heat_maps(case: dict[str, Any], root: Path) -> None:
    said = words(redact(case), root)
    assert "Where the adapter helps" not in said
    for kept in ("SecMI-stat", "Weight of the evidence", "Rank among decoys", "About 87%"):
        assert kept in said


def test_the_study_is_told_with_its_limits(case: dict[str, Any], root: Path) -> None:
    said = words(case, root)
    assert "Outside the validated range. The rank of the adapter is 64" in said
    assert "36 innocent and 36 guilty adapters" in said
    assert "A this case 0% 0 of 36 (0% to 7.5%)" in said
    for sentence in sentences(case["known_rates"], "A"):
        assert sentence in said
    assert "in the study 0.84" in said
    assert "Permutation 0.41 uniform" in said
    assert NO_STUDY not in said


def test_inside_the_range_nothing_is_warned_of(case: dict[str, Any], root: Path) -> None:
    case["known_rates"]["outside"] = []
    said = words(case, root)
    assert "inside the range that was varied" in said
    assert "Outside the validated range" not in said
    assert "lies outside what was measured" not in said


@pytest.mark.parametrize("nothing", [None, {}])
def test_without_a_study_it_says_so(case: dict[str, Any], root: Path, nothing: Any) -> None:
    case["known_rates"] = nothing
    said = words(case, root)
    assert NO_STUDY in said
    assert "lora-forensics calibrate" in said
    assert "in the study" not in said


def test_a_ratio_is_printed_with_cap_and_words(case: dict[str, Any], root: Path) -> None:
    said = weighed(case, root, 36.0)
    assert "Hp The photos in question were in the adapter's training data." in said
    assert "Hd The adapter was trained on other photos" in said
    assert "Moderate support for Hp (used)" in said
    assert "about 36 times as probable if Hp is true as if Hd is true" in said
    assert "Cap 0.028 to 36 the ratio was cut to it" in said
    assert "It is not the probability that the photos were used" in said


def test_a_ratio_below_one_supports_hd(case: dict[str, Any], root: Path) -> None:
    said = weighed(case, root, 0.05)
    assert "support for Hd: the result is about 20 times as probable if Hd is true" in said
    assert "support for Hp:" not in said
    assert "the ratio was cut to it" not in said
    assert "support for neither" in weighed(case, root, 1.0)


def test_a_study_without_floor_or_ratio(case: dict[str, Any], root: Path) -> None:
    case["known_rates"]["likelihood"] = likelihood_of(8.0)
    del case["known_rates"]["likelihood"]["floor"]
    assert "Cap at most 36 the study is too small to support a larger one" in words(case, root)
    assert "Weight of the evidence" not in weighed(case, root, 8.0, lr=None)


def test_decoys_are_told(case: dict[str, Any], root: Path) -> None:
    said = words(case, root)
    assert "drawn at random from 20 that differ in a faint mark on the photos" in said
    assert "Its rank among them: p = 0.05 (smallest possible 0.05)." in said
    assert "ab" * 32 in said
    assert "not a test" not in said
    case["decoys"] = {"p": 0.5, "floor": 0.5, "k": 1, "kind": "other", "commitment": ""}
    case["decoys"]["contrast_only"] = True
    said = words(case, root)
    assert "from 2 that differ in other" in said
    assert "A single decoy is a contrast, not a test." in said
    assert "Commitment" not in said


def test_every_kind_of_decoy_has_words() -> None:
    kind = next(f for f in fields(DecoySpec) if f.name == "kind")
    assert set(kind.metadata["choices"]) == set(membership_view.DECOYS)


def test_steps_before_measuring_are_told(case: dict[str, Any], root: Path) -> None:
    assert "went through the same steps before they were measured: one JPEG" in words(case, root)
    del case["canonical"]
    assert "went through the same steps" not in words(case, root)


def test_the_papers_softmax_scores_are_named(case: dict[str, Any], root: Path) -> None:
    assert "The network started at random" in words(case, root)
    case["attack"]["scores"] = "softmax"
    said = words(case, root)
    assert "P(member) above 0.5" in said
    assert "The paper's interval, 0.611 to 0.621, is too narrow" in said


def test_no_field_says_a_case_is_guilty(every_case: dict[str, Any], root: Path) -> None:
    for letter in "ABCD":
        said = words(every_case[letter], root).lower()
        for banned in ("posterior", "was trained on these", "probability of guilt"):
            assert banned not in said
