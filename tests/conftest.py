"""Registers this checkout as `lora_forensics`, whatever its folder is called."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

if "lora_forensics" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "lora_forensics", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lora_forensics"] = module
    spec.loader.exec_module(module)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base, a LoRA on it and another one; nothing writes into it."""
    import tiny_models

    root = tmp_path_factory.mktemp("models")
    tiny_models.save_base(root / "base")
    tiny_models.save_lora(root / "suspect.safetensors")
    tiny_models.save_lora(root / "other.safetensors", seed=2)
    return root
