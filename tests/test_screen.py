"""The command from end to end on a tiny random base: results, resume, and every bad input."""

import json
import re
import socket
import zipfile

import peft
import pytest
import tiny_models
import torch
from command_files import flags, smooth_pictures
from ldm_layout import save_checkpoint
from lora_forensics.core import cli
from lora_forensics.core.casework.intake import check_counts
from lora_forensics.core.errors import NotEnoughDataError
from lora_forensics.core.verdicts.case import SCHEMA_VERSION
from PIL import Image
from safetensors.torch import load_file, save_file

BUDGET = [
    *["--preset", "quick", "--encoder", "tiny", "--prompt", "a photo"],
    *["--membership-timesteps", "200", "600", "--membership-noises", "2"],
    *["--extract-images", "6", "--extract-steps", "2", "--extract-scale", "1.5"],
    *["--attack-images", "8", "--attack-steps", "2", "--attack-seeds", "2", "--attack-epochs", "1"],
]

NULLS = ["--membership-nulls", "2"]

# A single-file SD 1.x checkpoint is taken at its family's 64 x 64 latents, however thin it is.
LEAN = [
    *["--membership-timesteps", "400", "--membership-noises", "1"],
    *["--extract-images", "2", "--extract-steps", "1"],
    *["--attack-images", "4", "--attack-steps", "1", "--attack-seeds", "1"],
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    tiny_models.save_base(root / "base")
    tiny_models.save_lora(root / "suspect.safetensors")
    smooth_pictures(root / "photos", 5, 1)
    smooth_pictures(root / "controls", 9, 2)
    return root


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The fewest pictures that are screened, and one more control."""
    root = tmp_path_factory.mktemp("few")
    return {
        "photos": smooth_pictures(root / "few", 2, 6),
        "controls": smooth_pictures(root / "fewc", 3, 7),
    }


def arguments(world, out, **changed):
    paths = {
        "base": world / "base",
        "lora": world / "suspect.safetensors",
        "photos": world / "photos",
        "controls": world / "controls",
        "out": out,
        **changed,
    }
    return ["screen", *BUDGET, *flags(paths)]


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """A case of all lines, screened where no socket can be opened."""

    def refuse(*_, **__):
        raise AssertionError("a scan opened a socket")

    out = tmp_path_factory.mktemp("whole") / "case"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "create_connection", refuse)
        assert cli.main([*arguments(world, out), *NULLS]) == 0
    return out


def single_file(folder):
    """An SD 1.x checkpoint in the original layout, its vocabulary beside it."""
    pipe = tiny_models.tiny_pipeline("sd1 low")
    tiny_models.save_vocabulary(folder / "tokenizer")
    return save_checkpoint(folder / "model.safetensors", pipe, "sd1")


def kohya_file(path, family):
    """A diffusers adapter under kohya's names."""
    tensors = load_file(tiny_models.save_lora(path, family, conv=True))
    renamed = {}
    for name, value in tensors.items():
        module, slot = name.removeprefix("unet.").removesuffix(".weight").rsplit(".", 1)
        stem = "lora_unet_" + module.replace(".", "_")
        renamed[f"{stem}.lora_{'down' if slot == 'lora_A' else 'up'}.weight"] = value
        renamed[f"{stem}.alpha"] = torch.tensor(4.0)
    save_file(renamed, path, {"ss_network_module": "networks.lora", "ss_network_dim": "4"})
    return path


def peft_folder(folder, family):
    """An adapter that peft itself wrote."""
    unet = tiny_models.tiny_pipeline(family).unet
    config = peft.LoraConfig(r=4, target_modules=["to_q", "to_v"], init_lora_weights=False)
    peft.get_peft_model(unet, config).save_pretrained(folder)
    return folder


def diffusers_file(path, family):
    return tiny_models.save_lora(path, family, text=True)


ADAPTERS = {"kohya": kohya_file, "peft": peft_folder, "diffusers": diffusers_file}


def failing(world, tmp_path, capsys, *more, **changed):
    out = tmp_path / "case"
    assert cli.main([*arguments(world, out, **changed), *more]) == 2
    assert not out.exists(), "bad input left something behind"
    return last_code(capsys)


def last_code(capsys):
    message = capsys.readouterr().err.strip().splitlines()[-1]
    return message.split(":")[0].removeprefix("ERROR/")


def unanalyzable(world, tmp_path, capsys, lora):
    """A suspect that cannot be analyzed is a case with a report, never "clean"."""
    out = tmp_path / "case"
    assert cli.main(arguments(world, out, lora=lora)) == 2
    code, case = last_code(capsys), json.loads((out / "report.json").read_text())
    assert case["verdict"]["letter"] == "ERROR"
    assert code in case["verdict"]["headline"]
    assert "not a finding that the model is clean" in (out / "report.html").read_text()
    return code


def test_screen_writes_a_whole_case_without_a_socket(whole):
    case = json.loads((whole / "report.json").read_text())
    assert case["schema_version"] == SCHEMA_VERSION
    assert case["verdict"]["letter"] in "ABCD"
    assert len(case["membership"]["comparison"]["photo_scores"]) == 5
    assert len(case["membership"]["null_ranks"][0]["nulls"]) == 2
    lines = (case[k]["forwards"] for k in ("membership", "extraction", "attack"))
    assert case["forwards"] == sum(lines)
    assert case["attack"]["images"] == 8
    assert len(case["extraction"]["extracted"]) == 5
    assert all((whole / e["file"]).is_file() for e in case["extraction"]["extracted"])
    html = (whole / "report.html").read_text()
    assert "<script" not in html
    assert f"VERDICT {case['verdict']['letter']}" in html.upper()
    assert not (whole / "lock").exists()
    assert cli.main(["report", str(whole)]) == 0
    assert (whole / "report.html").read_text() == html


@pytest.mark.parametrize(
    ("family", "adapter"),
    [("sd1 low", "kohya"), ("sdxl", "kohya"), ("sdxl", "peft"), ("sdxl", "diffusers")],
)
def test_other_bases_and_adapter_layouts(world, few, tmp_path, family, adapter):
    """A single-file SD 1.x checkpoint and an SDXL folder, with each writer's LoRA."""
    if family == "sd1 low":
        base = single_file(tmp_path)
    else:
        base = tiny_models.save_base(tmp_path / "xl", "sdxl")
    suffix = "" if adapter == "peft" else ".safetensors"
    lora = ADAPTERS[adapter](tmp_path / f"{adapter}{suffix}", family)
    out = tmp_path / "case"
    assert cli.main([*arguments(world, out, base=base, lora=lora, **few), *LEAN]) == 0
    case = json.loads((out / "report.json").read_text())
    assert case["models"]["family"] == family.split()[0]
    assert case["inspection"]["format"].startswith(adapter)
    assert case["models"]["output_change"] > 0


def test_dreambooth_checkpoint_is_screened(world, tmp_path):
    tuned = tiny_models.save_dreambooth(tmp_path / "tuned")
    out = tmp_path / "case"
    assert cli.main([*arguments(world, out, lora=tuned), "--membership-nulls", "1"]) == 0
    case = json.loads((out / "report.json").read_text())
    assert case["models"]["tuned_kind"] == "checkpoint"
    assert case["inspection"] == {}
    assert case["membership"]["null_ranks"] == []


def test_interrupted_screening_resumes(world, whole, tmp_path, monkeypatch, capsys):
    out, steps = tmp_path / "case", {"left": 40}
    command = [*arguments(world, out), *NULLS]

    class Impatient(cli.cases.Bars):
        def step(self, n=1):
            steps["left"] -= n
            if steps["left"] < 0:
                raise KeyboardInterrupt
            super().step(n)

    with monkeypatch.context() as patch:
        patch.setattr(cli.cases, "Bars", Impatient)
        assert cli.main(command) == 130
    words = capsys.readouterr().err
    assert "planned" in words
    assert "resumes" in words
    assert (out / "ledger.jsonl").read_text().strip()
    assert not (out / "report.html").exists()
    assert cli.main(command) == 0
    resumed, straight = (json.loads((p / "report.json").read_text()) for p in (out, whole))
    for key in ("membership", "extraction", "attack", "verdict", "probe"):
        assert resumed[key] == straight[key], key


def test_another_setting_does_not_resume(world, tmp_path, capsys):
    out = tmp_path / "case"
    score = ["score", "--preset", "quick", "--noises", "2"]
    rest = arguments(world, out)[1 + len(BUDGET) :]
    assert cli.main([*score, "--encoder", "tiny", *rest]) == 0
    assert json.loads((out / "report.json").read_text())["attack"] is None
    assert cli.main([*score, "--encoder", "tiny", "--seed", "9", *rest]) == 2
    assert "CONFIG_CHANGED" in capsys.readouterr().err


ALONE = {
    "score": (["--timesteps", "400", "--noises", "2"], "White-box membership"),
    "extract": (["--images", "4", "--steps", "1", "--scale", "1.5"], "Extraction"),
    "attack": (
        ["--images", "6", "--steps", "1", "--seeds", "2", "--epochs", "1"],
        "Black-box attack",
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_one_line_alone_prints_its_own_figures(world, tmp_path, capsys, name):
    settings, title = ALONE[name]
    paths = arguments(world, tmp_path / "case")[1 + len(BUDGET) :]
    shared = ["--preset", "quick", "--encoder", "tiny"]
    assert cli.main([name, *shared, *settings, *paths]) == 0
    said = capsys.readouterr().out
    line = r"  - %s: AUC [01]\.\d+ \(95%% [01]\.\d+ to [01]\.\d+\), effect [+-].* permutation p = "
    smallest = r"[\d.e-]+ \(smallest possible [\d.e-]+\); 5 photos, 9 controls\.?\n"
    assert len(re.findall(line % title + smallest, said)) == 1
    assert len(re.findall(smallest, said)) == 1
    assert ("The network started at random" in said) == (name == "attack")
    assert not re.search(r"(?m)^[A-Z][a-z ]+:\n(?!  - )", said)


def test_missing_and_empty_folders(world, tmp_path, capsys):
    assert failing(world, tmp_path, capsys, photos=tmp_path / "no") == "MISSING_FOLDER"
    (tmp_path / "empty").mkdir()
    assert failing(world, tmp_path, capsys, controls=tmp_path / "empty") == "EMPTY_FOLDER"
    assert failing(world, tmp_path, capsys, base=tmp_path / "no") in {
        "MISSING_FILE",
        "NOT_A_CHECKPOINT",
    }
    assert failing(world, tmp_path, capsys, lora=tmp_path / "no.safetensors") == "MISSING_FILE"


def test_too_few_photos(world, tmp_path, capsys):
    one = smooth_pictures(tmp_path / "one", 1, 5)
    assert failing(world, tmp_path, capsys, photos=one) == "ONE_PHOTO"
    assert failing(world, tmp_path, capsys, controls=one) == "TOO_FEW_CONTROLS"


@pytest.mark.parametrize(
    ("photos", "controls", "said"),
    [(0, 9, "0 photos given"), (1, 9, "1 photo given"), (2, 0, "0 controls"), (2, 1, "1 control ")],
)
def test_too_few_are_counted_in_plain_words(photos, controls, said):
    with pytest.raises(NotEnoughDataError, match=said):
        check_counts(photos, controls)


def test_little_data_is_verdict_d_with_the_number_needed(world, few, tmp_path):
    out = tmp_path / "case"
    assert cli.main(arguments(world, out, **few)) == 0
    verdict = json.loads((out / "report.json").read_text())["verdict"]
    assert verdict["letter"] == "D"
    assert verdict["photos_needed"] > 2


def test_same_picture_in_both_folders(world, tmp_path, capsys):
    shared = smooth_pictures(tmp_path / "shared", 9, 2)
    assert failing(world, tmp_path, capsys, photos=shared) == "DUPLICATE_PHOTOS"


def test_bad_pictures(world, tmp_path, capsys):
    bad = smooth_pictures(tmp_path / "bad", 3, 8)
    (bad / "x.png").write_bytes((bad / "1.png").read_bytes()[:200])
    assert failing(world, tmp_path, capsys, photos=bad) in {"CORRUPT_IMAGE", "NOT_AN_IMAGE"}
    Image.new("L", (8000, 8000)).save(bad / "x.png")
    assert failing(world, tmp_path, capsys, photos=bad) == "IMAGE_TOO_LARGE"


def test_pickle_and_torchscript_are_refused_unopened(world, tmp_path, capsys):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save({"a": Bomb()}, tmp_path / "x.pt")
    assert unanalyzable(world, tmp_path, capsys, lora=tmp_path / "x.pt") == "PICKLE"
    renamed = tmp_path / "x.safetensors"
    renamed.write_bytes((tmp_path / "x.pt").read_bytes())
    assert unanalyzable(world, tmp_path, capsys, lora=renamed) == "PICKLE"
    with zipfile.ZipFile(tmp_path / "s.pt", "w") as archive:
        archive.writestr("s/code/__torch__.py", "")
        archive.writestr("s/constants.pkl", "")
    assert unanalyzable(world, tmp_path, capsys, lora=tmp_path / "s.pt") == "TORCHSCRIPT"
    assert not (tmp_path / "exploded").exists()


def test_adapters_that_do_not_fit(world, tmp_path, capsys):
    tensors = load_file(world / "suspect.safetensors")
    wide = {k: torch.cat([v, v], 1) if "lora_A" in k else v for k, v in tensors.items()}
    save_file(wide, tmp_path / "wide.safetensors")
    assert unanalyzable(world, tmp_path, capsys, lora=tmp_path / "wide.safetensors") == "WRONG_BASE"
    still = {k: torch.zeros_like(v) if "lora_B" in k else v for k, v in tensors.items()}
    save_file(still, tmp_path / "still.safetensors")
    assert (
        unanalyzable(world, tmp_path, capsys, lora=tmp_path / "still.safetensors") == "NOT_APPLIED"
    )
    broken = {k: torch.full_like(v, torch.nan) for k, v in tensors.items()}
    save_file(broken, tmp_path / "nan.safetensors")
    assert unanalyzable(world, tmp_path, capsys, lora=tmp_path / "nan.safetensors") == "NON_FINITE"


def test_lora_as_base(world, tmp_path, capsys):
    code = failing(world, tmp_path, capsys, base=world / "suspect.safetensors")
    assert code == "NOT_A_CHECKPOINT"


def test_unwritable_output(world, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    assert cli.main(arguments(world, file)) == 2
    assert "NOT_WRITABLE" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert cli.main(arguments(world, file / "below")) == 2
    assert "NOT_WRITABLE" in capsys.readouterr().err


def test_foreign_folder_is_left_alone(world, tmp_path, capsys):
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "mine.txt").write_text("mine")
    assert cli.main(arguments(world, tmp_path / "case")) == 2
    assert "NOT_A_CASE" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "case").iterdir()] == ["mine.txt"]


def test_signs_of_a_minor_stop_everything_with_their_own_code(world, tmp_path, capsys):
    out = tmp_path / "case"
    assert cli.main([*arguments(world, out), "--minor-suspected"]) == 3
    assert cli.main([*arguments(world, out), "--prompt", "a 9 year old"]) == 3
    assert not out.exists()
    assert "MINOR_SUSPECTED" in capsys.readouterr().err


def test_bad_settings_are_named(world, tmp_path, capsys):
    assert failing(world, tmp_path, capsys, "--attack-epochs", "0") == "BAD_SETTING"


def test_inspect_alone(world, capsys):
    assert cli.main(["inspect", "--lora", str(world / "suspect.safetensors"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["modules"] > 10
    fits = ["--base", str(world / "base")]
    assert cli.main(["inspect", "--lora", str(world / "suspect.safetensors"), *fits]) == 0
    assert "modules matched" in capsys.readouterr().out


def test_sample_keeps_provenance(world, tmp_path):
    flags = ["--base", str(world / "base"), "--lora", str(world / "suspect.safetensors")]
    rules = ["--cfg", "0", "--cfg", "1", "--cfg", "3", "--guidance", "1.5"]
    more = ["--prompt", "a photo", "--images", "2", "--steps", "2", "--out", str(tmp_path / "s")]
    assert cli.main(["sample", *flags, *rules, *more]) == 0
    rows = json.loads((tmp_path / "s" / "images.json").read_text())
    assert len(rows) == 8
    assert len({r["sha256"] for r in rows}) == 8
    assert {r["guidance"] for r in rows} >= {"tuned cfg=0", "model w=1.5"}
    assert all((tmp_path / "s" / r["name"]).is_file() for r in rows)


def test_a_folder_of_a_failure_is_used_again(world, tmp_path, capsys):
    """The person gives the right file and repeats the command; nothing must be removed first."""
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors here")
    out = tmp_path / "case"
    assert cli.main(arguments(world, out, lora=tmp_path / "broken.safetensors")) == 2
    assert cli.main(arguments(world, out, lora=tmp_path / "broken.safetensors")) == 2
    score = ["score", *arguments(world, out)[1 + len(BUDGET) :], "--timesteps", "500"]
    assert cli.main([*score, "--noises", "1"]) == 0
    assert json.loads((out / "report.json").read_text())["verdict"]["letter"] in "ABCD"
