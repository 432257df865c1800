"""What a command is given: a base, a suspect, photos, controls, and a place that is free."""

from pathlib import Path

import pytest
from command_files import noise_pictures


@pytest.fixture
def given(tiny_folder: Path, tmp_path: Path) -> dict[str, Path]:
    return {
        "base": tiny_folder / "base",
        "lora": tiny_folder / "suspect.safetensors",
        "photos": noise_pictures(tmp_path / "photos", 3, 1),
        "controls": noise_pictures(tmp_path / "controls", 4, 2),
        "out": tmp_path / "case",
    }
