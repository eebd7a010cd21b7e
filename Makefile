# One virtual environment, .venv, for everything; a target does again only what has changed.

PYTHON ?= python3
VENV ?= .venv
# On Linux, PyPI's torch brings gigabytes of CUDA libraries. This index has the processor-only
# build; it is left out where it cannot be reached, and `make TORCH_INDEX= ...` leaves it out too.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := $(VENV)/bin
TORCH := $(shell sed -n 's/^ *"\(torch[<>=][^"]*\)",$$/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help demo test avx2 check docs

help: ## say what the targets do
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

demo: $(VENV)/.installed ## install into .venv and run the quickstart (a few minutes on 2 cores)
	$(BIN)/gensynth synth

# Modules without such a test would be imported for nothing, which takes ten seconds.
REALTIME = $$(grep -rl --include="test_*.py" mark.realtime tests)

test: check ## install what development needs, then lint, check types, run the fast tests
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow and not realtime"
	$(BIN)/python -m pytest -m "realtime and not slow" $(REALTIME)

# torch, oneDNN and numpy are told what the processor may do; ONNX Runtime looks for itself, so
# the tests of what it rounds run on an emulated processor, where there is one.
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 \
  NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"

avx2: $(VENV)/.installed-dev ## run the tests that arithmetic decides, as a processor with AVX2 alone
	$(AVX2) $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not realtime" \
	  tests/search/test_synthesis.py tests/probing/test_probe.py \
	  tests/tasks/test_classification.py tests/export/test_parity.py
	if command -v qemu-x86_64 >/dev/null; then qemu-x86_64 -cpu Haswell $(BIN)/python -m pytest \
	  -q -p no:cacheprovider tests/export/test_int8_rounding.py; \
	else echo "INT8 was not tried on an emulated processor: qemu-user is not installed"; fi

check: $(VENV)/.installed-dev ## lint and check types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev ## run the README's examples
	$(BIN)/python .ci/check_readme.py README.md

$(VENV)/.installed: pyproject.toml | $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $(VENV)/.installed $@

# torch alone first, since pip would otherwise look for every package on both indexes.
$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gensynth needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python .ci/install_torch.py "$(TORCH)" "$(TORCH_INDEX)"
	touch $@
