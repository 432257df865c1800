PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
HOST_STAMP := $(VENV)/.host-installed

.PHONY: demo test test-host lint bench study clean

demo: $(STAMP)
	$(BIN)/lora-forensics demo --out demo-case

test: $(STAMP) lint
	$(BIN)/python -m pytest

# COMFYUI_PATH: a ComfyUI checkout. COMFYUI_PYTHON: an interpreter that runs it, else .venv's.
test-host: $(if $(COMFYUI_PATH),$(STAMP) $(HOST_STAMP))
	@test -n "$(COMFYUI_PATH)" || { echo "Say which ComfyUI: make test-host COMFYUI_PATH=/path/to/ComfyUI"; exit 2; }
	COMFYUI_PATH="$(COMFYUI_PATH)" $(BIN)/python -m pytest -m host tests/host

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(STAMP)
	$(BIN)/python -m benchmarks

study: $(STAMP)
	$(BIN)/python -m lora_forensics.core.studies.demo.study --out demo-study

$(STAMP): pyproject.toml
	command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: install it, or say PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

# Without the packages that .venv has already, and torchaudio, which the tests do not need.
$(HOST_STAMP): $(STAMP) $(wildcard $(COMFYUI_PATH)/requirements.txt)
	grep -viE '^(torch|torchvision|torchaudio|numpy)([^a-z0-9_-]|$$)' "$(COMFYUI_PATH)/requirements.txt" > $(VENV)/host-requirements.txt
	$(BIN)/python -m pip install --quiet -r $(VENV)/host-requirements.txt
	touch $@

clean:
	rm -rf $(VENV) demo-case build *.egg-info
