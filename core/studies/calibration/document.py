"""docs/calibration.md from the JSON of a study: no figure is typed by hand.

``python -m lora_forensics.core.studies.calibration.document RATES.json docs/calibration.md``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from ...rates.facts import KnownRates
from ...rates.reading import load_rates
from ...rates.scope import FACTS
from ...storage import write_atomic
from ..tables import NOTHING, table


def render(rates: KnownRates) -> str:
    """The page of a study in Markdown."""
    parts = [f"## {title}\n\n{text(rates)}\n" for title, text in SECTIONS.items()]
    return _intro(rates) + "\n" + "\n".join(parts)


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
    rows = (f"{c.text} | {c.figure} | {'held' if c.held else '**not held**'}" for c in r.claims)
    return f"""{table("claim | measured | result", rows)}

*The best signal* of a case is the white-box signal with the highest mean AUC over all **other** \
guilty cases: choosing and judging on the same cases would flatter it. A gain holds if the lower \
end of its interval does. That no test rejects uniformity is no proof of it: with {r.innocent} \
cases a p-value that is at or below 0.05 in a tenth of them would mostly pass. Placebos come from \
the same design as the suspects, as they will not in a case."""


def _letters(r: KnownRates) -> str:
    rows = (f"{x.letter} | {x.innocent} | {x.guilty}" for x in r.letters)
    return table("verdict | innocent adapters | guilty adapters", rows)


def _factors(r: KnownRates) -> str:
    rows = (
        f"{f.factor} | {f.level} | {f.power} | {f.false_accusation} | {f.auc}" for f in r.factors
    )
    head = "factor | level | guilty: A or B | innocent: A or B | per-photo AUC, guilty"
    return table(head, rows)


def _signals(r: KnownRates) -> str:
    rows = (
        f"{s.title} | {s.group} | {s.auc} | {s.pooled:.3f} | {s.innocent_auc} | "
        f"{s.photo_power.value:.0%} | {s.photo_alarm.value:.1%} | {s.power} | {s.false_alarm}"
        for s in r.signals
    )
    head = (
        "signal | kind | AUC, guilty | pooled | AUC, innocent | photos at p <= 0.05, guilty | "
        "innocent | sets at p <= 0.05, guilty | innocent"
    )
    return f"""AUC of photos against controls of the same source, mean over cases; *pooled* takes \
all cases as one after standardising by each case's controls. *Photos at p <= 0.05* is the mean \
share of photos whose conformal p is that small; *sets* are permutation tests of the whole set. \
All training photos of a case share one caption, so signals that live on captions (CLiD, the \
conditional gap) have little to hold on to here.

{table(head, rows)}"""


def _p_values(r: KnownRates) -> str:
    rows = (
        f"{p.name} | {p.cases} | {p.uniform_p:.2g} | {p.too_small_p:.2g} | "
        f"{p.at_05.hits} of {p.at_05.trials} | {p.at_01.hits} of {p.at_01.trials} | "
        f"{p.verdict if p.verdict == 'uniform' else f'**{p.verdict}**'}"
        for p in r.p_values
    )
    head = "p-value | cases | uniform: p | too small: p | <= 0.05 | <= 0.01 | verdict"
    return f"""Innocent cases only. *Uniform* tests for any departure from uniformity on the grid \
that the p-value can take; *too small* is one-sided, for p-values that accuse too often. At level \
0.01 a p-value is *uniform*, *conservative* (too large: allowed) or *anti-conservative* (too \
small: it must not be used). Noise adapters learned nothing: their rank is shown to say whether it \
could carry a verdict. Cases share placebo adapters, so placebo ranks of different cases are not \
quite independent.

{table(head, rows)}"""


def _usage(r: KnownRates) -> str:
    rows = (f"{u.used:.0%} | {u.estimate} | {u.covered} | {u.refused}" for u in r.usage)
    head = "share truly used | estimate, mean over cases | interval holds the truth | refused"
    return f"""The share of photos used (DUCI), each case calibrated on other cases of equal \
training length; *refused* where calls on members and non-members were too alike for any share.

{table(head, rows)}

{_likelihood(r)}"""


def _likelihood(r: KnownRates) -> str:
    if r.likelihood is None:
        return "Likelihood ratios were not measured: `lir` was not installed, or cases were few."
    x = r.likelihood
    rows = (
        f"Cllr (1 says nothing) | {x.cllr:.3f}",
        f"after the best possible calibration | {x.cllr_min:.3f}",
        f"innocent cases with a ratio above 1 | {x.misleading_innocent}",
        f"guilty cases with a ratio below 1 | {x.misleading_guilty}",
        f"largest ratio of an innocent case | {x.largest_innocent:.1f}",
    )
    return f"Likelihood ratios: {x.method}.\n\n{table('measure | value', rows)}"


def _validity(r: KnownRates) -> str:
    ranges = {title: r.ranges[name] for name, title in FACTS.items() if name in r.ranges}
    rows = [
        f"{title} | {low:g}" + ("" if low == high else f" to {high:g}")
        for title, (low, high) in ranges.items()
    ]
    rows += [
        f"image quality | {', '.join(r.qualities)}",
        f"family | {r.family}",
        f"base | {r.base[:16]}",
    ]
    return f"""{table("fact | calibrated", rows)}

A case outside any of these is flagged in its report, but for image quality, which no file states. \
These rates belong to this base and recipe; for another base, measure its own: `lora-forensics \
calibrate --scale own --base MODEL --photos POOL --prompt CAPTION --out FOLDER`."""


def _cases(r: KnownRates) -> str:
    rows = (
        f"{c.number} | {c.used:.0%} | {c.rank} | {c.steps} | {c.photos} | {c.quality} | "
        f"{c.letter} | {c.auc:.2f} | {c.permutation_p:.3g} | {_known(c.placebo_p)} | "
        f"{_known(c.noise_p)} | {c.attack_auc:.2f} | {c.extraction_auc:.2f} | {_known(c.usage)}"
        for c in r.cases
    )
    head = (
        "case | used | rank | steps | photos | quality | verdict | AUC | p | placebo p | noise p | "
        "attack AUC | extraction AUC | DUCI"
    )
    return table(head, rows)


def _known(value: float) -> str:
    """A figure that is -1 where it was not measured."""
    return NOTHING if value < 0 else f"{value:.3g}"


SECTIONS: dict[str, Callable[[KnownRates], str]] = {
    "What was to be shown": _claims,
    "Verdicts": _letters,
    "Where the power is": _factors,
    "Signals, photo by photo and as a set": _signals,
    "P-values when nothing was used": _p_values,
    "How many of the photos, and how much more probable": _usage,
    "Where these rates hold": _validity,
    "Every case": _cases,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page of a study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rates", type=Path, help="rates.json of a study")
    parser.add_argument("page", type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    write_atomic(args.page, render(load_rates(args.rates)).encode())


if __name__ == "__main__":
    main()
