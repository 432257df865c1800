"""What tests of the demo share."""

import pytest
from lora_forensics.core.backends.loading import load_base
from lora_forensics.core.demo.assets import asset_path


@pytest.fixture(scope="session")
def base():
    """The embedded base; nothing changes its weights."""
    return load_base(asset_path("base"), device="cpu", dtype="float32")
