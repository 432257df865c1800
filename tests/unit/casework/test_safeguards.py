"""Every way by which a name, a caption or metadata of a minor could reach a model is stopped."""

import json
from dataclasses import replace

import pytest
from command_files import flags, forbid, noise_pictures
from lora_forensics.core.casework import intake, photo_sets, questions
from lora_forensics.core.casework import training as trainwork
from lora_forensics.core.cli import main
from lora_forensics.core.errors import ForensicsError
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.inspection import inspect_lora
from lora_forensics.core.studies.calibration import run as calibration
from lora_forensics.core.studies.calibration.settings import CalibrationSpec
from lora_forensics.core.studies.reproduction import folders as reproduction
from lora_forensics.core.studies.reproduction.scales import SD15
from safetensors.torch import load_file, save_file

# As JSON writes a tab between the words, the raw text reads "tchild".
TABBED = {"ss_dataset_dirs": json.dumps({"10_sks\tchild": {"n_repeats": 10, "img_count": 3}})}


def with_metadata(source, path, metadata):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(load_file(source), path, metadata)
    return path


def moved(path, name):
    return path.rename(path.parent / name)


def renamed(option, name, picture=""):
    """A folder of the person, or one picture in it, is called `name`."""

    def route(given, tiny_folder, tmp_path):
        if option not in given:
            given[option] = noise_pictures(tmp_path / option, 4, 4)
        moved_to = moved(given[option] / picture, name)
        given[option] = given[option] if picture else moved_to

    return route


def adapter(option, place, metadata, source="other"):
    """An adapter lies at `place`; placebos are given by their folder."""

    def route(given, tiny_folder, tmp_path):
        file = with_metadata(tiny_folder / f"{source}.safetensors", tmp_path / place, metadata)
        given[option] = file.parent if option == "placebos" else file

    return route


def own_captions(given, tiny_folder, tmp_path):
    line = json.dumps({"file_name": "0.png", "text": "a photo of a toddler"})
    given["captions"] = tmp_path / "metadata.jsonl"
    given["captions"].write_text(line + "\n")


ROUTES = {
    "own_captions": own_captions,
    "photo_file": renamed("photos", "my_daughter.png", "0.png"),
    "photo_folder": renamed("photos", "our kids"),
    "photo_session": lambda given, *_: noise_pictures(given["photos"] / "first_graders", 1, 3),
    "control_file": renamed("controls", "toddler.png", "0.png"),
    "control_folder": renamed("controls", "schoolgirls"),
    "negative_file": renamed("negatives", "6 months old.png", "0.png"),
    "negative_folder": renamed("negatives", "little sister"),
    "placebo_file": adapter("placebos", "placebos/child.safetensors", {}),
    "placebo_folder": adapter("placebos", "teens/a.safetensors", {}),
    "shadow_file": adapter("shadow", "fourteen yo.safetensors", {}),
    "shadow_metadata": adapter("shadow", "shadow.safetensors", {"note": "a toddler"}),
    "shadow_prompts": adapter("shadow", "shadow.safetensors", TABBED),
    "suspect_prompts": adapter("lora", "suspect.safetensors", TABBED, "suspect"),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_a_case_stops_before_any_photo_is_opened(route, given, tiny_folder, tmp_path, monkeypatch):
    route(given, tiny_folder, tmp_path)
    for module in (photo_sets, questions):
        monkeypatch.setattr(module, "load_photos", forbid)
    assert main(["screen", "--preset", "quick", "--encoder", "tiny", *flags(given)]) == 3
    assert not given["out"].exists()


def baseline_captions(tmp_path, given):
    lines = [{"file_name": f"{i}.png", "text": "a face" if i else "her son"} for i in range(4)]
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ["--methods", "reconstruction", "--captions", str(path)]


def baseline_texts(tmp_path, given):
    return ["--methods", "centroid", "--member-text", "a 5th grade student", "--other-text", "x"]


@pytest.mark.parametrize("route", [baseline_captions, baseline_texts])
def test_baselines_stop_before_any_photo_is_opened(route, given, tmp_path, monkeypatch):
    more = route(tmp_path, given)
    for module in (photo_sets, questions):
        monkeypatch.setattr(module, "load_photos", forbid)
    assert main(["baselines", "--encoder", "tiny", *flags(given), *more]) == 3
    assert not given["out"].exists()


def test_a_shadow_is_not_sampled_where_its_file_changed_meanwhile(given, tiny_folder, tmp_path):
    """`build_question` does not rely on what was checked before it."""
    ROUTES["shadow_metadata"](given, tiny_folder, tmp_path)
    paths = {("tuned" if k == "lora" else k): v for k, v in given.items()}
    request = questions.Request(**paths, device="cpu", dtype="float32")
    with pytest.raises(ForensicsError, match="MINOR_SUSPECTED"):
        questions._shadow_images(request, given["shadow"], ())


def test_sampling_reads_what_the_file_suggests(given, tiny_folder, tmp_path):
    ROUTES["suspect_prompts"](given, tiny_folder, tmp_path)
    command = ["sample", "--prompt", "a face", "--images", "1", "--steps", "1", "--cfg", "1"]
    assert main([*command, *flags(given, "base", "lora", "out")]) == 3
    assert not given["out"].exists()


@pytest.mark.parametrize(
    ("prompt", "place"),
    [("my son", "pool/0.png"), ("a face", "pool/kid.png"), ("a face", "children/0.png"),
     ("a face", "pool/teens/0.png")],
)  # fmt: skip
def test_an_own_study_stops_before_the_base_is_loaded(prompt, place, tmp_path, monkeypatch):
    pool = tmp_path / place.split("/")[0]
    noise_pictures(pool, 3, 1)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes((pool / "1.png").read_bytes())
    monkeypatch.setattr(calibration, "load_base", forbid)
    with pytest.raises(ForensicsError, match="MINOR_SUSPECTED"):
        calibration.own_study(CalibrationSpec(), tmp_path / "base", pool, prompt)


@pytest.mark.parametrize("where", ["caption", "file", "folder", "person"])
def test_a_reproduction_stops_before_any_photo_is_opened(where, tmp_path, monkeypatch):
    roots = {who: tmp_path / who for who in ("dtu", "aau", "lfw")}
    for who, part in reproduction.SETS.values():
        folder = noise_pictures(roots[who] / part, 2, 1)
        lines = [{"file_name": f"{i}.png", "text": "a headshot"} for i in range(2)]
        if where == "caption" and who == "aau":
            lines[1]["text"] = "a headshot of our daughter"
        written = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metadata.jsonl").write_text(written)
    if where == "file":
        moved(roots["dtu"] / "unseen" / "0.png", "kid.png")
    if where == "folder":
        roots["lfw"] = moved(roots["lfw"], "children")
    if where == "person":
        noise_pictures(roots["lfw"] / "unseen" / "Her_Son", 1, 3)
    given = reproduction.Folders(base=tmp_path / "base", **roots)
    with monkeypatch.context() as patch:
        patch.setattr(reproduction, "decode_file", forbid)
        with pytest.raises(ForensicsError, match="MINOR_SUSPECTED"):
            reproduction.folder_material(replace(SD15, encoder="tiny"), given)


@pytest.mark.parametrize("command", ["train", "caption", "watermark"])
def test_sessions_are_read_too(command, given, tmp_path, monkeypatch):
    noise_pictures(given["photos"] / "grandchildren", 1, 3)
    monkeypatch.setattr(trainwork, "decode_file", forbid)
    more = {
        "train": ["--base", str(given["base"]), "--caption", "a face"],
        "caption": ["--blip", str(tmp_path)],
        "watermark": [],
    }[command]
    out = ["--photos", str(given["photos"]), "--out", str(given["out"])]
    assert main([command, *out, *more]) == 3
    assert not given["out"].exists()


def test_a_folder_is_known_by_its_name_however_it_is_given(tmp_path, monkeypatch):
    noise_pictures(tmp_path / "kids" / "a", 1, 1)
    monkeypatch.chdir(tmp_path / "kids")
    assert intake.names_in(intake.Path()) == ["kids", "a", "0.png"]
    assert intake.names_in(tmp_path / "kids" / "a") == ["a", "0.png"]
    assert intake.names_in(tmp_path / "kids" / "a" / "0.png") == ["0.png"]


def test_a_model_is_read_in_whole_whether_it_was_inspected_or_not(tiny_folder, tmp_path):
    place = tmp_path / "lora" / "adapter_model.safetensors"
    file = with_metadata(tiny_folder / "other.safetensors", place, TABBED)
    assert intake.model_signs(file) == ["child"]
    assert intake.model_signs(file.parent) == ["child"]
    assert "child" in intake.model_signs(file, inspect_lora(read_lora(file)))
    assert intake.model_signs(tiny_folder / "other.safetensors") == []
    assert intake.model_signs(tiny_folder / "base") == []
    assert intake.model_signs(moved(file.parent, "toddlers")) == ["child", "toddlers"]
