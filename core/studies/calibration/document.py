"""docs/calibration.md from the JSON of a study: no figure is typed by hand.

``python -m lora_forensics.core.studies.calibration.document RATES.json docs/calibration.md``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ...rates.facts import KnownRates, Share
from ...rates.reading import load_rates
from ...rates.scope import FACTS
from ...storage import write_atomic

Rows = Sequence[Sequence[str]]


def render(rates: KnownRates) -> str:
    """The page of a study in Markdown."""
    parts = [
        _intro(rates),
        "## What was to be shown\n",
        _claims(rates),
        "## Verdicts\n",
        _letters(rates),
        "## Where the power is\n",
        _factors(rates),
        "## Signals, photo by photo and as a set\n",
        _signals(rates),
        "## P-values when nothing was used\n",
        _p_values(rates),
        "## How many of the photos, and how much more probable\n",
        _usage(rates),
        _likelihood(rates),
        "## Where these rates hold\n",
        _validity(rates),
        "## Every case\n",
        _cases(rates),
    ]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _intro(r: KnownRates) -> str:
    partial = f" In {r.partial} more, half of the asked photos were used." if r.partial else ""
    shared = (
        "\nCases share photos of one pool: they are not independent, and every interval here is "
        "narrower than it should be.\n"
        if r.shared_photos
        else ""
    )
    return f"""# Known error rates, measured

Every figure on this page was written by a command; no one typed it.

```
{r.command}
```

Several processes may share the folder (`--shard 1/2` and `--shard 2/2` in two shells), and a run
that was stopped goes on where it was.

{_finished(r)}{r.guilty + r.innocent} small LoRAs were trained with known truth
({r.source}) and each went through
the whole pipeline: white-box membership with {_nulls(r)}, extraction,
the black-box attack, the blind probe, the verdict. {r.guilty} were asked about exactly the photos
that they were trained on (guilty), {r.innocent} about photos of the same source and quality that
they never saw (innocent).{partial} Training photos, asked photos and controls of a case are one
random split of one draw, so photos that were not used are exchangeable with the controls by
construction. For each set size and truth, rank, steps and image quality form a Latin square.
{shared}
Intervals are 95%: Clopper-Pearson for shares of cases, a bootstrap over cases for means. Version
{r.tool}, seed {r.seed}, {r.forwards:,} denoiser forwards; after the training,
{r.seconds / 60:.0f} minutes of one core.
"""


def _finished(r: KnownRates) -> str:
    done = r.guilty + r.innocent + r.partial
    return "" if done == r.planned else f"**Only {done} of {r.planned} cases are finished.** "


def _nulls(r: KnownRates) -> str:
    s = r.settings
    return f"{s['placebos']} placebo and {s['noise_nulls']} noise adapters as null models"


def _claims(r: KnownRates) -> str:
    rows = [(c.text, c.figure, "held" if c.held else "**not held**") for c in r.claims]
    chosen = (
        "\n*The best signal* of a case is the white-box signal with the highest mean AUC over all "
        "**other** guilty cases: choosing and judging on the same cases would flatter it. A gain "
        "holds if the lower end of its interval does. That no test rejects uniformity is no proof "
        f"of it: with {r.innocent} cases a p-value that is at or below 0.05 in a tenth of them "
        "would mostly pass. Placebos come from the same design as the suspects, as they will not "
        "in a case.\n"
    )
    return _table(("claim", "measured", "result"), rows) + chosen


def _letters(r: KnownRates) -> str:
    rows = [(x.letter, str(x.innocent), str(x.guilty)) for x in r.letters]
    return _table(("verdict", "innocent adapters", "guilty adapters"), rows)


def _factors(r: KnownRates) -> str:
    rows = [
        (f.factor, f.level, str(f.power), str(f.false_accusation), str(f.auc)) for f in r.factors
    ]
    head = ("factor", "level", "guilty: A or B", "innocent: A or B", "per-photo AUC, guilty")
    return _table(head, rows)


def _signals(r: KnownRates) -> str:
    rows = [
        (
            s.title,
            s.group,
            str(s.auc),
            f"{s.pooled:.3f}",
            str(s.innocent_auc),
            f"{s.photo_power.value:.0%}",
            f"{s.photo_alarm.value:.1%}",
            str(s.power),
            str(s.false_alarm),
        )
        for s in r.signals
    ]
    head = (
        "signal",
        "kind",
        "AUC, guilty",
        "pooled",
        "AUC, innocent",
        "photos at p <= 0.05, guilty",
        "innocent",
        "sets at p <= 0.05, guilty",
        "innocent",
    )
    return (
        "AUC of photos against controls of the same source, mean over cases; *pooled* takes all "
        "cases as one after standardising by each case's controls. *Photos at p <= 0.05* is the "
        "mean share of photos whose conformal p is that small; *sets* are permutation tests of the "
        "whole set. All training photos of a case share one caption, so signals that live on "
        "captions (CLiD, the conditional gap) have little to hold on to here.\n\n"
        + _table(head, rows)
    )


def _p_values(r: KnownRates) -> str:
    rows = [
        (
            p.name,
            str(p.cases),
            f"{p.uniform_p:.2g}",
            f"{p.too_small_p:.2g}",
            _short(p.at_05),
            _short(p.at_01),
            p.verdict if p.verdict == "uniform" else f"**{p.verdict}**",
        )
        for p in r.p_values
    ]
    head = ("p-value", "cases", "uniform: p", "too small: p", "<= 0.05", "<= 0.01", "verdict")
    return (
        "Innocent cases only. *Uniform* tests for any departure from uniformity on the grid that "
        "the p-value can take; *too small* is one-sided, for p-values that accuse too often. At "
        "level 0.01 a p-value is *uniform*, *conservative* (too large: allowed) or "
        "*anti-conservative* (too small: it must not be used). Noise adapters learned nothing: "
        "their rank is shown to say whether it could carry a verdict. Cases share placebo "
        "adapters, so placebo ranks of different cases are not quite independent.\n\n"
        + _table(head, rows)
    )


def _short(s: Share) -> str:
    return f"{s.hits} of {s.trials}"


def _usage(r: KnownRates) -> str:
    rows = [
        (f"{u.used:.0%}", str(u.estimate), str(u.covered), str(u.refused)) for u in r.usage
    ]  # fmt: skip
    head = ("share truly used", "estimate, mean over cases", "interval holds the truth", "refused")
    return (
        "The share of photos used (DUCI), each case calibrated on other cases of equal training "
        "length; *refused* where calls on members and non-members were too alike for any share."
        "\n\n" + _table(head, rows)
    )


def _likelihood(r: KnownRates) -> str:
    if r.likelihood is None:
        return "Likelihood ratios were not measured: `lir` was not installed, or cases were few.\n"
    x = r.likelihood
    rows = [
        ("Cllr (1 says nothing)", f"{x.cllr:.3f}"),
        ("after the best possible calibration", f"{x.cllr_min:.3f}"),
        ("innocent cases with a ratio above 1", str(x.misleading_innocent)),
        ("guilty cases with a ratio below 1", str(x.misleading_guilty)),
        ("largest ratio of an innocent case", f"{x.largest_innocent:.1f}"),
    ]
    return f"Likelihood ratios: {x.method}.\n\n" + _table(("measure", "value"), rows)


def _validity(r: KnownRates) -> str:
    rows = [
        (title, _span(*r.ranges[name])) for name, title in FACTS.items() if name in r.ranges
    ]  # fmt: skip
    rows += [("image quality", ", ".join(r.qualities)), ("family", r.family), ("base", r.base[:16])]
    return (
        _table(("fact", "calibrated"), rows)
        + "\nA case outside any of these is flagged in its report, but for image quality, which no "
        "file states. These rates belong to this base "
        "and recipe; for another base, measure its own: `lora-forensics calibrate --scale own "
        "--base MODEL --photos POOL --prompt CAPTION --out FOLDER`.\n"
    )


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _cases(r: KnownRates) -> str:
    rows = [
        (
            str(c.number), f"{c.used:.0%}", str(c.rank), str(c.steps), str(c.photos), c.quality,
            c.letter, f"{c.auc:.2f}", f"{c.permutation_p:.3g}", _known(c.placebo_p),
            _known(c.noise_p), f"{c.attack_auc:.2f}", f"{c.extraction_auc:.2f}", _known(c.usage),
        )
        for c in r.cases
    ]  # fmt: skip
    head = ("case", "used", "rank", "steps", "photos", "quality", "verdict", "AUC", "p",
            "placebo p", "noise p", "attack AUC", "extraction AUC", "DUCI")  # fmt: skip
    return _table(head, rows)


def _known(value: float) -> str:
    return "-" if value < 0 else f"{value:.3g}"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page of a study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rates", type=Path, help="rates.json of a study")
    parser.add_argument("page", type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    write_atomic(args.page, render(load_rates(args.rates)).encode())


if __name__ == "__main__":
    main()
