"""What a person is told although the work goes on, and what only a programmer would want to see."""

import warnings

from lora_forensics.core import cli
from lora_forensics.core.cli import main
from lora_forensics.core.errors import Notice


def test_that_a_prompt_was_cut_is_said_once_and_in_words(tiny_folder, tmp_path, capsys):
    models = ["--base", tiny_folder / "base", "--lora", tiny_folder / "suspect.safetensors"]
    prompts = ["--prompt", "a photo of him " * 30, "--prompt", "a photo"]
    rules = ["--cfg", "0", "--cfg", "1", "--images", "1", "--steps", "1"]
    command = ["sample", *models, *prompts, *rules, "--out", tmp_path / "s", "--device", "cpu"]
    assert main([str(c) for c in command]) == 0
    err = capsys.readouterr().err
    assert err.count("the prompt 'a photo of him") == err.count("; only the first 77 count\n") == 1
    assert "Warning" not in err
    assert ".py" not in err


def test_a_library_warns_nobody(capsys, monkeypatch):
    def warn(args):
        for category in (Notice, Notice, UserWarning, RuntimeWarning):
            warnings.warn(f"a {category.__name__}", category, stacklevel=1)
        return 0

    monkeypatch.setattr(cli.files, "_report", warn)
    assert main(["report", "x"]) == 0
    assert capsys.readouterr().err == "a Notice\n"
