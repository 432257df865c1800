"""The white-box section: scores, signals, null models, heat maps, photo by photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..verdicts.evidence import NULL_WORDS, TRAINED_NULLS
from . import plots
from .comparisons import control_marks, score_at, shared, uri
from .pictures import picture_uri
from .signals_view import captions_view, signals_view

MOST_HEAT = 24
UNLISTED_HEAT = 6
DECOYS = {  # by the kinds of specs.DecoySpec
    "mark": "a faint mark on the photos",
    "subset": "the choice of photos",
    "token": "a token in the captions",
}


def membership_view(case: dict[str, Any], root: Path) -> dict[str, Any] | None:
    """Everything of the white-box section, or None if the line was not run.

    Args:
        case: the JSON twin.
        root: the case folder, below which pictures and heat maps lie.
    """
    m = case["membership"]
    if not m:
        return None
    c, rows = m["comparison"], _photo_rows(case)
    return {
        **m,
        **shared(c, "membership score (higher: more like a member)", control_marks(c)),
        "losses": uri(plots.losses(m["timesteps"], m["photo_curve"], m["control_curve"])),
        "seeds": uri(
            plots.dots(m["seed_effects"], axis="effect by noise seed", mark=(c["effect"], "all"))
        ),
        "ranks": [_rank(rank) for rank in m["null_ranks"]],
        "trained_nulls": any(rank["kind"] in TRAINED_NULLS for rank in m["null_ranks"]),
        "agree": sum(1 for e in m["seed_effects"] if e is not None and e > 0),
        "every": signals_view(case),
        "captions": captions_view(m),
        "usage": m.get("usage") or None,
        "heat": _heat(rows, case["photos"], root),
        "rows": rows,
        "ranked": any(row["rank_p"] is not None for row in rows),
    }


def look_alikes_view(case: Mapping[str, Any], root: Path) -> dict[str, Any] | None:
    """Controls that look like a photo, pairs that are kept as pictures first; None without any."""
    rows = case["look_alikes"]
    if not rows:
        return None
    pairs = [_alike_pair(row, case["photos"], root) for row in rows if row.get("picture")]
    aside = sum(bool(row["set_aside"]) for row in rows)
    return {"pairs": pairs, "aside": aside, "more": len(rows) - len(pairs), "total": len(rows)}


def _alike_pair(
    row: Mapping[str, Any], photos: Sequence[Mapping[str, Any]], root: Path
) -> dict[str, Any]:
    photo = photos[row["photo"]] if row["photo"] < len(photos) else {}
    return {
        **row,
        "own": uri(picture_uri(root, photo.get("picture") or "")),
        "other": uri(picture_uri(root, row["picture"])),
    }


def decoys_view(case: Mapping[str, Any]) -> dict[str, Any] | None:
    """The published variant among its decoys, or None if the owner drew none."""
    decoys = case["decoys"]
    if not decoys:
        return None
    drawn = plots.dots(
        decoys.get("decoys") or [],
        axis="score of the variant; dots: decoys",
        mark=(decoys.get("statistic"), "published"),
        zero=False,
    )
    kind = str(decoys["kind"])
    return {**decoys, "words": DECOYS.get(kind, kind), "plot": uri(drawn)}


def _rank(rank: dict[str, Any]) -> dict[str, Any]:
    drawn = plots.dots(
        rank["nulls"],
        axis="effect in control sd; dots: null models",
        mark=(rank["value"], "this model"),
        zero=False,
    )
    words = NULL_WORDS.get(rank["kind"], str(rank["kind"]))
    return {**rank, "plot": uri(drawn), "words": words}


def _photo_rows(case: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a photo, highest score first; `index` is its place in the case."""
    c, photos = case["membership"]["comparison"], case["photos"]
    listed, ranks = set(c["shortlist"]), _trained_photo_p(case["membership"])
    rows = [
        {
            "index": i,
            "number": photos[i]["number"] if i < len(photos) else i + 1,
            "name": photos[i]["name"] if i < len(photos) else "",
            "score": score,
            "p": c["photo_p"][i] if i < len(c["photo_p"]) else None,
            "rank_p": ranks[i] if i < len(ranks) else None,
            "listed": i in listed,
            "similarity": score_at(case["extraction"], i),
            "logit": score_at(case["attack"], i),
        }
        for i, score in enumerate(c["photo_scores"])
    ]
    return sorted(rows, key=lambda r: (r["score"] is None, -(r["score"] or 0.0)))


def _trained_photo_p(membership: Mapping[str, Any]) -> Sequence[float | None]:
    """Each photo's rank among the trained nulls that the verdict looks at: those of largest p."""
    trained = [r for r in membership["null_ranks"] if r["kind"] in TRAINED_NULLS]
    return max(trained, key=lambda r: r["p"] or 0.0)["photo_p"] if trained else ()


def _heat(
    rows: Sequence[Mapping[str, Any]], photos: Sequence[Mapping[str, Any]], root: Path
) -> dict[str, Any] | None:
    """Heat maps of the shortlist, else of the highest scores; None where the case has none."""
    have = [r for r in rows if r["index"] < len(photos) and photos[r["index"]].get("heat")]
    chosen = [r for r in have if r["listed"]] or have[:UNLISTED_HEAT]
    if not chosen:
        return None
    shown = [_heat_pair(r, photos[r["index"]], root) for r in chosen[:MOST_HEAT]]
    return {"pairs": shown, "listed": chosen[0]["listed"], "more": len(chosen) - len(shown)}


def _heat_pair(row: Mapping[str, Any], photo: Mapping[str, Any], root: Path) -> dict[str, Any]:
    return {
        **row,
        "kept": bool(photo.get("picture")),
        "photo": uri(picture_uri(root, photo.get("picture") or "")),
        "overlay": uri(picture_uri(root, photo["heat"])),
    }
