"""`baselines` from photos to a table, and what it refuses."""

import json

import pytest
from lora_forensics.core.casework.request import METHODS
from lora_forensics.core.cli import main
from lora_forensics.core.demo.assets import asset_path


def command(out, *more):
    return [
        "baselines", "--base", str(asset_path("base")),
        "--lora", str(asset_path("suspects/guilty_strong.safetensors")),
        "--photos", str(asset_path("photos/study_1")),
        "--controls", str(asset_path("photos/study_2")),
        "--out", str(out), "--images", "6", "--steps", "3", *more,
    ]  # fmt: skip


def test_arms_are_drawn_once_and_resumed(tmp_path, capsys):
    out = tmp_path / "case"
    assert main(command(out)) == 0
    told = capsys.readouterr().out
    found = json.loads((out / "baselines.json").read_text())["baselines"]
    assert [b["name"] for b in found[::2]] == list(METHODS[:4])
    assert [b["calibrated"] for b in found] == [False, True] * 4
    assert all(len(b["comparison"]["photo_scores"]) == 10 for b in found)
    images = sorted(p.name for p in (out / "img").iterdir())
    assert len(images) == 12
    assert "gan_leaks_cosine" in told
    assert main(command(out)) == 0
    assert json.loads((out / "baselines.json").read_text())["baselines"] == found
    assert sorted(p.name for p in (out / "img").iterdir()) == images


def test_reconstructions_follow_each_photos_caption(tmp_path):
    files = [p for s in ("study_1", "study_2") for p in asset_path(f"photos/{s}").iterdir()]
    lines = [json.dumps({"file_name": p.name, "text": "a person"}) for p in files]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    out, captions = tmp_path / "case", str(tmp_path / "metadata.jsonl")
    more = ("--methods", "reconstruction", "--captions", captions, "--steps", "1")
    assert main(command(out, *more)) == 0
    found = json.loads((out / "baselines.json").read_text())["baselines"]
    assert [b["name"] for b in found] == ["reconstruction"] * 2
    assert len(list((out / "img").iterdir())) == 20 * 3 * 2


def test_only_what_is_read_is_offered(capsys):
    with pytest.raises(SystemExit):
        main(["baselines", "--help"])
    said = capsys.readouterr().out
    unread = ("exchangeable", "resnet", "negatives", "shadow", "placebos", "rates", "decoys")
    unread += ("no-pictures", "epochs", "seeds", "learning-rate", "holdout", "codec", "scores")
    assert [name for name in unread if f"--{name}" in said] == []
    read = ("prompt", "encoder", "models", "strength", "images", "cfgs", "steps", "sampler")
    assert all(f"--{name} " in said for name in (*read, "side", "batch", "seed", "attack-preset"))


@pytest.mark.parametrize("name", ["screen", "attack"])
def test_one_origin_of_label_0_can_be_given(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--negatives", "a", "--shadow", "b"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--methods", "zero_shot"], "NO_PROMPTS"),
        (
            ["--methods", "zero_shot", "--member-text", "a", "--other-text", "b"],
            "NO_TEXT_ENCODER",
        ),
        (["--methods", "reconstruction", "--captions", "none.jsonl"], "MISSING_CAPTIONS"),
    ],
)
def test_bad_requests_leave_nothing_behind(tmp_path, capsys, more, code):
    assert main(command(tmp_path / "case", *more)) == 2
    assert code in capsys.readouterr().err
    assert not (tmp_path / "case").exists()
