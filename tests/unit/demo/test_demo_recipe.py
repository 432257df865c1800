"""The build itself, at a scale that says nothing about quality."""

import json

import pytest
from lora_forensics.core.backends.loading import load_base
from lora_forensics.core.demo.assets import load_truth
from lora_forensics.core.demo.making.recipe import SCALES, STAGES, main
from lora_forensics.core.encoders.tiny import load_tiny


def test_scales_differ_in_size_only():
    assert set(SCALES) == {"full", "smoke"}
    full = {s.name: s.recipe for s in SCALES["full"].suspects}
    for suspect in SCALES["smoke"].suspects:
        assert suspect.recipe.rank == full[suspect.name].rank
        assert suspect.recipe.steps < full[suspect.name].steps


def test_unknown_stage_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--stages", "data,cook"])
    assert "cook" in capsys.readouterr().err


@pytest.mark.slow
def test_smoke_build_runs_all_stages_and_resumes(tmp_path):
    out = tmp_path / "assets"
    main(["--out", str(out), "--scale", "smoke", "--threads", "1"])
    facts = json.loads((out / "training_log.json").read_text(encoding="utf-8"))
    assert list(facts["stages"]) == list(STAGES)
    assert facts["stages"]["vae"]["joint"]["steps"] == 3
    assert load_base(out / "base").vae.config["latent_channels"] == 16
    assert "_name_or_path" not in (out / "base" / "vae" / "config.json").read_text()
    assert load_tiny(out / "descriptor.safetensors").dim == 128
    for truth in load_truth(out / "truth.json").values():
        assert (out / truth.adapter).is_file()
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.safetensors")}
    main(["--out", str(out), "--scale", "smoke", "--threads", "1"])
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*.safetensors")}
