"""Tables from facts, and the documentation page from the committed facts of the real run."""

import json
import sys
from pathlib import Path

import pytest
from lora_forensics.core.errors import InputError
from lora_forensics.core.studies.reproduction import docs
from lora_forensics.core.studies.reproduction.docs import refresh
from lora_forensics.core.studies.reproduction.pictures import guidance_plot
from lora_forensics.core.studies.reproduction.rows import PAPER_ROWS, POINTS
from lora_forensics.core.studies.reproduction.tables import accusation_table, auc_table, markdown

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")


def committed(run):
    data = ROOT / "docs" / "data" / f"reproduction_{run}.json"
    return json.loads(data.read_text(encoding="utf-8"))


def sound(area):
    return {"auc": area, "low": area - 0.05, "high": area + 0.05, "se_photos": 0.02, "se_seeds": 0}


def entry(key, area, **more):
    published = {"auc": 0.66, "half": 0.03, "clip": None, "tpr1": 0.005}
    published |= {"above": [0.93, 0.83], "convicted": {"20": 0.29, "50": 0.67}}
    return {
        **{"key": key, "title": "a row", "train": ["base_dtu_cfg7.5", "aau_aau_cfg7.5"]},
        **{"test": ["dtu-seen", "aau-unseen"], "folder": "f", "published": published},
        **{"printed": {"auc": area, "half": 0.01}, "sound": sound(area), "seed_aucs": [area]},
        **{"centroid": {"auc": 0.55}, "tpr1": 0.02, "tpr1_estimable": True, "counts": [120, 150]},
        **{"above": [0.5, 0.25], "convicted": {"20": 0.1, "50": None}, "null": None, **more},
    }


def facts(*rows):
    return {
        "rows": list(rows),
        "findings": [],
        "stages": [],
        "command": "lora-forensics reproduce mia",
        "hardware": {"threads": 1, "cores": 2, "machine": "x"},
        "versions": {"lora-forensics": "0", "torch": "2", "diffusers": "1", "device": "cpu"},
        "manifest": {
            "scale": {
                "facts": {"sampler": "DDIM"},
                "attack": {"seeds": 5, "images": 160},
                "finetune": {"seed": 0, "steps": 2000},
            }
        },
        "seconds": 120,
        "cpu_seconds": 60,
    }


def test_marks_are_filled_and_filling_again_changes_nothing():
    told = facts(entry("9", 0.6543))
    page = "AUC <!-- 9 sound.auc .3 -->?<!-- / -->, seed <!-- 9 seed_aucs.0 .1 --><!-- / -->.\n"
    filled = refresh(page, told)
    assert filled == (
        "AUC <!-- 9 sound.auc .3 -->.654<!-- / -->, seed <!-- 9 seed_aucs.0 .1 -->.7<!-- / -->.\n"
    )
    assert refresh(filled, told) == filled
    whole = refresh("<!-- table -->old<!-- / -->\n", told)
    assert whole == f"<!-- table -->\n{auc_table(told)}\n<!-- / -->\n"


@pytest.mark.parametrize("what", ["9 sound.area .3", "8 sound.auc .3", "tabel", "9 sound.auc"])
def test_a_mark_that_names_nothing_is_an_error(what):
    with pytest.raises(InputError, match="BAD_FIELD"):
        refresh(f"<!-- {what} -->x<!-- / -->", facts(entry("9", 0.65)))


def test_the_command_refreshes_a_page(tmp_path, monkeypatch):
    data, page = tmp_path / "facts.json", tmp_path / "page.md"
    data.write_text(json.dumps(facts(entry("9", 0.65))))
    page.write_text("<!-- 9 sound.auc .2 --><!-- / -->")
    monkeypatch.setattr(sys, "argv", ["docs", "--data", str(data), "--page", str(page)])
    docs.main()
    assert page.read_text() == "<!-- 9 sound.auc .2 -->.65<!-- / -->"


def test_tables_show_published_beside_ours():
    null = {"folder": "f", "sound": sound(0.6), "convicted": {"20": 0.2, "50": 0.5}}
    null |= {"above": [0.5, 0.5], "excess": {"estimate": 0.2, "low": 0.1, "high": 0.3}}
    target = entry("4/400", 0.8, train=["dtu-400_dtu_cfg7.5", "x"], null=null)
    told = facts(target, entry("9", 0.6))
    assert "| 9 | a row | .66 ± .03 | .60 ± .01 | .600 (.550 to .650) | - | .55 |" in auc_table(
        told
    )
    lines = accusation_table(told).splitlines()
    expected = ".100 / - | .290 / .670 | .200 / .500 | .290 / .670 | .600 (.550 to .650) | +0.200"
    assert expected in lines[2]
    assert "untouched base itself" in lines[3]
    assert "DDIM" in markdown(told)


def test_the_guidance_plot_needs_its_rows():
    assert guidance_plot([entry("9", 0.6)]) is None
    picture = guidance_plot([entry(f"6/{p}", 0.7) for p in POINTS])
    assert picture.startswith(b"\x89PNG")
    assert picture == guidance_plot([entry(f"6/{p}", 0.7) for p in POINTS])


@pytest.mark.parametrize("run", ["mia", "localization"])
def test_the_page_holds_the_figures_of_the_committed_run(run):
    told = committed(run)
    assert refresh(PAGE, told) == PAGE
    assert told["command"] in PAGE


def test_the_committed_runs_are_whole():
    assert {row.key for row in PAPER_ROWS} <= {row["key"] for row in committed("mia")["rows"]}
    main = [r for r in committed("localization")["runs"] if r["table"] == "main"]
    assert {r["setup"] for r in main} == {"A", "B", "C"}
    assert "<!-- localization table -->" in PAGE
