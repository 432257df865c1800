"""What the metadata claims, what the weights show, and the stop before sampling."""

import dataclasses
import hashlib
import json

import pytest
import torch
from lora_forensics.core.casework.intake import base_caveats
from lora_forensics.core.demo.assets import asset_path
from lora_forensics.core.lora import safeguard
from lora_forensics.core.lora.binding import bind
from lora_forensics.core.lora.claims import concept, exposure, read_claims
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.header import kohya_hashes, read_header
from lora_forensics.core.lora.inspection import Severity, inspect_lora, match_base
from lora_forensics.core.lora.safeguard import TOO_LONG, clean_text, stop_words
from safetensors.torch import save_file

NAME = "lora_unet_down_blocks_0_attentions_0_proj_in"
METADATA = {
    "ss_sd_model_name": "v1-5.safetensors",
    "ss_network_dim": "2",
    "ss_steps": "1200",
    "ss_total_batch_size": "2",
    "num_train_images": "200",
    "ss_dataset_dirs": json.dumps({"10_ohwx man": {"n_repeats": 10, "img_count": 20}}),
    "ss_tag_frequency": json.dumps({"10_ohwx man": {"ohwx man": 20, "beach": 3, "suit": 7}}),
    "ss_output_name": "ohwx_v1",
}


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        f"{NAME}.lora_down.weight": torch.randn(2, 4, generator=generator),
        f"{NAME}.lora_up.weight": torch.randn(6, 2, generator=generator),
        f"{NAME}.alpha": torch.tensor(1.0),
    }


def lora(folder, metadata, values=None):
    path = folder / "suspect.safetensors"
    save_file(values or tensors(), path, metadata)
    return read_lora(path)


def signed():
    model, legacy = kohya_hashes(tensors(), METADATA)
    return METADATA | {"sshs_model_hash": model, "sshs_legacy_hash": legacy}


def subjects(inspection, severity):
    return {item.subject for item in inspection.findings if item.severity == severity}


def test_an_untouched_file_matches_its_recorded_hashes(tmp_path):
    found = inspect_lora(lora(tmp_path, signed() | {"modelspec.title": "added later"}))
    assert {"sshs_model_hash", "sshs_legacy_hash"} <= subjects(found, Severity.INFO)
    assert not subjects(found, Severity.WARNING)


def test_a_hash_of_nothing_is_no_match(tmp_path):
    found = inspect_lora(lora(tmp_path, signed()))
    (told,) = (f for f in found.findings if f.subject == "sshs_legacy_hash")
    assert "too small to check" in told.message
    (told,) = (f for f in found.findings if f.subject == "sshs_model_hash")
    assert told.message == "the tensors match the recorded hash"
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"small")
    told = match_base({"ss_sd_model_hash": "e3b0c442"}, base)
    assert told.severity == Severity.NOTE
    assert "too small to check" in told.message


def test_edited_weights_do_not_match(tmp_path):
    edited = {name: value * 1.01 for name, value in tensors().items()}
    found = inspect_lora(lora(tmp_path, signed(), edited))
    assert "sshs_model_hash" in subjects(found, Severity.WARNING)


def test_claims_and_exposure(tmp_path):
    found = inspect_lora(lora(tmp_path, METADATA))
    assert found.exposure is not None
    assert found.exposure.passes == 1200 * 2 / 20
    assert found.exposure.reading.startswith("over 100")
    assert found.claims.images == 20
    assert [(p.text, p.count) for p in found.claims.prompts][:2] == [("ohwx man", 20), ("suit", 7)]
    assert found.claims.trigger_words == ("ohwx man",)
    assert found.claims.text["output_name"] == "ohwx_v1"
    assert found.ranks == {"2": 1}
    assert found.sampling_allowed


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"ss_steps": "100"}, 10.0),
        ({"ss_num_reg_images": "50"}, 60.0),
        ({"ss_steps": "abc"}, None),
        ({"ss_dataset_dirs": "{}"}, None),
        ({"ss_total_batch_size": "1e999"}, None),
    ],
)
def test_exposure_variants(changes, passes):
    found = exposure(read_claims(METADATA | changes))
    assert (found and found.passes) == passes


def test_exposure_weights_folders_by_repeats():
    dirs = {"10_a": {"n_repeats": 10, "img_count": 5}, "1_b": {"n_repeats": 1, "img_count": 50}}
    found = exposure(read_claims(METADATA | {"ss_dataset_dirs": json.dumps(dirs)}))
    assert found is not None
    assert found.by_folder == {"10_a": 240.0, "1_b": 24.0}
    assert 5 * 240 + 50 * 24 == 1200 * 2


def test_dataset_config_style_metadata():
    datasets = [
        {
            "batch_size_per_device": 4,
            "tag_frequency": {"x": {"zwx dog": 8}},
            "subsets": [{"image_dir": "/d/5_zwx dog", "img_count": 8, "num_repeats": 5}],
        }
    ]
    claims = read_claims({"ss_datasets": json.dumps(datasets), "ss_steps": "100"})
    assert (claims.images, claims.batch, claims.trigger_words) == (8, 4, ("zwx dog",))


@pytest.mark.parametrize(
    "value",
    ["{", "[" * 99_999, '{"a":1,"a":2}', "NaN", "[]", '"x"', '{"a": [1]}', '{"a": {"t": {}}}'],
)
def test_hostile_metadata_never_raises(value):
    keys = ("ss_dataset_dirs", "ss_tag_frequency", "ss_datasets", "ss_steps")
    claims = read_claims(dict.fromkeys(keys, value))
    assert claims.steps is None
    assert exposure(claims) is None


def test_inspection_is_plain_data(tmp_path):
    file = lora(tmp_path, METADATA)
    binding = bind(file, {"unet": {"down_blocks.0.attentions.0.proj_in": (6, 4)}})
    found = inspect_lora(file, binding)
    text = json.dumps(dataclasses.asdict(found), allow_nan=False)
    assert json.loads(text)["spectra"][0]["module"] == "down_blocks.0.attentions.0.proj_in"
    assert found.text_encoder_share == 0
    assert found.coverage[0].base_touched == 1


def test_base_is_compared_by_hash(tmp_path):
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"x" * 0x120000)
    full = hashlib.sha256(base.read_bytes()).hexdigest()
    short = hashlib.sha256(b"x" * 0x10000).hexdigest()[:8]
    assert match_base({"ss_new_sd_model_hash": full}, base).severity == Severity.INFO
    assert match_base({"ss_sd_model_hash": short}, base).severity == Severity.INFO
    assert match_base({"ss_sd_model_hash": "00000000"}, base).severity == Severity.WARNING
    assert match_base({}, base).severity == Severity.NOTE
    known = match_base({"ss_new_sd_model_hash": full}, base, sha256="another")
    assert known.severity == Severity.WARNING
    folder = match_base({"ss_new_sd_model_hash": full}, tmp_path)
    assert folder.severity == Severity.NOTE
    assert "a folder cannot be compared" in folder.message


def test_the_base_speaks_in_the_inspection_and_in_a_caveat(tmp_path):
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"x" * 0x120000)
    file = lora(tmp_path, {"ss_new_sd_model_hash": "0" * 64})
    assert not [f for f in inspect_lora(file).findings if f.subject == "base"]
    other = inspect_lora(file, base=base)
    (caveat,) = base_caveats(other)
    assert caveat.startswith("The file names another base: the base file is not the one")
    same = inspect_lora(file, base=base, base_sha256="0" * 64)
    assert base_caveats(same) == base_caveats(None) == ()


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("10_ohwx man", "ohwx man"),
        ("/data/x/5_zwx_dog/", "zwx dog"),
        ("C:\\a\\3_b", "b"),
        ("x", "x"),
    ],
)
def test_concept(folder, expected):
    assert concept(folder) == expected


def test_clean_text_shows_what_hides():
    assert clean_text("a\x00b\u202ec\n") == "a\\u0000b\\u202ec\\u000a"
    assert clean_text("x" * 3000).endswith("(3000 characters)")
    assert clean_text("é漢 <b>") == "é漢 <b>"


STOPS = [
    *("a photo of a child", "10_sks child", "young_girl, park", "1girl, loli", "toddler", "teen"),
    *("l0li", "L.O.L.I", "ch1ld on a swing", "ch\u200bild", "ｃｈｉｌｄ"),
    *("sks boy, 12yo", "12 years old", "a 9-year-old", "seven year old girl", "14 years of age"),
    *("age 14", "aged_13", "age:7", "under 16", "schoolgirl uniform", "SchoolGirl"),
    *("enfant dans un parc", "niña", "kleines Mädchen", "12 Jahre alt", "8 ans", "çocuk"),
    *("ребёнок", "маленькая девочка", "12 лет", "طفل", "어린이"),
    *("幼女", "小学生", "ロリ", "14歳", '{"10_x": {"\\u5e7c\\u5973": 3}}'),
    *("my daughter", "MyDaughter", "photos of daughters", "stepdaughter", "my son", "our_sons"),
    *("her youngest son", "a son of mine", "grandson", "granddaughters", "grandkids"),
    *("little sister", "little-brothers", "kid brother", "baby sister"),
    *("first grader", "1st-graders", "fifth grader", "11th grade student"),
    *("in the third grade", "grade 5 students", "grade schooler"),
    *("6 months old", "18-month-old", "30 mo. old", "six months old", "twenty four months old"),
    *("fourteen yo", "fourteen-yo", "twelve y/o", "nine y.o.", "seven yrs old"),
    *('{"10_sks\\tchild": 3}', "C:\\photos\\newborn", "C:\\photos\\teens\\1.png"),
]


@pytest.mark.parametrize("text", STOPS)
def test_signs_of_a_minor_stop(text):
    assert stop_words([text])


HARMLESS = [
    *("schoolhouse", "kidney", "a kidskin bag", "childlike wonder", "baby blue dress", "canteen"),
    *("children's book illustration", "minor scale", "thirteen lamps", "mass, class, glass"),
    *("18+", "18yo", "21 years old", "age 25", "ages 18-30", "aged 40", "a woman, 35 y/o"),
    *("1girl, solo", "2boys", "12 year old whisky", "カロリー", "フロリダ", "Nina", "a kind man"),
    *("v1.5 rank 12, 14 epochs", "512x512, lr 1e-4, seed 12", "kohya_ss 10_ohwx man"),
    *("image 14", "page 12", "average 12", "language 12", "stage 9"),
    *("2018", "4k, hdr, 8k", "f/1.4 14mm"),
    *("season", "a person", "persons in a room", "Jackson, Samson and Emerson", "Daughtry"),
    *("Mumford and Sons", "my sonata", "my season of comics, her sonar", "her person"),
    *("son et lumière", "a sister and a brother"),
    *("high grade steel, first grade quality, 2nd grade", "grade 5 bolts", "a grader on a road"),
    *("24 months warranty, 3 months", "240 months old", "ten yo-yos"),
    *("twenty-one years old", "thirty one yo", "eighteen yo"),
    *("IMG_20240612_101112.jpg", "PXL_20230103_090807123.MP.jpg", "DSC00012.JPG"),
    *("Aaron_Eckhart_0001.jpg", "5ebfde5e-12d4-4f1a-9b1e-0a1b2c3d4e5f.png"),
]


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_words_do_not_stop(text):
    assert stop_words([text]) == []


def test_nothing_of_the_demo_stops():
    """Neither names, nor metadata, nor what a study samples from."""
    files = sorted(asset_path("base").parent.rglob("*"))
    adapters = [f for f in files if f.suffix == ".safetensors"]
    found = [x for f in adapters for pair in read_header(f).metadata.items() for x in pair]
    assert len(adapters) > 5
    assert stop_words([*(part for f in files for part in f.parts[-3:]), *found]) == []


def test_text_that_is_too_long_closes_the_gate(monkeypatch):
    monkeypatch.setattr(safeguard, "MAX_SEARCHED_CHARS", 100)
    assert stop_words(["." * 60, "." * 40]) == []
    assert stop_words(["." * 100, "x"]) == [TOO_LONG]


def test_the_gate_reads_file_name_and_all_metadata(tmp_path):
    for metadata in ({"note": "toddler"}, {"toddler": "x"}):
        found = inspect_lora(lora(tmp_path, metadata))
        assert not found.sampling_allowed
        assert "minors" in subjects(found, Severity.WARNING)
    path = tmp_path / "my_child.safetensors"
    save_file(tensors(), path)
    assert inspect_lora(read_lora(path)).stop_words == ("child",)
