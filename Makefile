# make demo   the main job on the embedded subject, dictionary and replies: no key, no network beyond the package index
# make test   lint, types, tests
# make bench  speed as ratios, written to results/bench.json
# make upgrade   the newest versions of what this is built on; then test, and commit .ci/constraints.txt
.DELETE_ON_ERROR:
.PHONY: help demo test bench install upgrade lint types golden clean postgres

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := 2.13.0
VERSIONS := .ci/constraints.txt

# make demo LLM=...   a provider to ask instead of replaying the shipped replies (see README, "The demo on your own model")
LLM ?=
PRICE ?=
UNITS ?=

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# Without a GPU the build of torch without CUDA is taken: from wherever pip is told to look, else through uv, which
# knows where that build lives. With a GPU, the ordinary build.
$(VENV)/.torch: | $(BIN)/python
	@if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then \
	  $(BIN)/python -m pip install --quiet "torch==$(TORCH)"; \
	elif ! $(BIN)/python -m pip install --quiet "torch==$(TORCH)+cpu" 2>/dev/null; then \
	  $(BIN)/python -m pip install --quiet uv && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend cpu "torch==$(TORCH)"; \
	fi
	@touch $@

$(VENV)/.installed: pyproject.toml $(VERSIONS) $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --constraint $(VERSIONS) --editable ".[sae,dev]"
	@touch $@

$(VENV)/.local: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint $(VERSIONS) --editable ".[sae,local,dev]"
	@touch $@

install: $(VENV)/.installed

upgrade: $(VENV)/.local
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager "torch==$(TORCH)" --editable ".[sae,local,dev]"
	{ sed -n '/^#/p' $(VERSIONS); $(BIN)/python -m pip freeze --exclude-editable | grep -v '^torch=='; } > $(VERSIONS).new
	mv $(VERSIONS).new $(VERSIONS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# The ledger's tests start a PostgreSQL server of their own; where there is none, and none can be installed, they skip.
postgres:
	@if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null 2>&1 \
	  && command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql; } \
	    >/dev/null 2>&1 || echo "postgres: could not be installed; its tests will skip"; \
	fi

test: $(VENV)/.local postgres lint types
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest

golden: install
	$(BIN)/python -m pytest tests/golden --update-golden

# With LLM=... the stores of an earlier demo are taken: `sae harvest` leaves one of the same harvest as it is. What is
# wrong with the model is said before that takes its minutes.
MODEL = --llm "$(LLM)" $(if $(PRICE),--price "$(PRICE)")
HARVEST := $(BIN)/sae harvest --corpus results/assets/corpus

demo: $(if $(LLM),$(VENV)/.local,$(VENV)/.installed)
	$(if $(LLM),$(BIN)/autointerp check results/demo.toml $(MODEL))
	$(if $(LLM),,rm -rf results/demo/stores &&) mkdir -p results/demo/stores
	$(HARVEST) --subject results/assets/subject-A --dictionary results/assets/dictionary-A \
	  --out results/demo/stores/subject
	$(HARVEST) --subject "results/assets/subject-A?shuffle=1" --dictionary results/assets/dictionary-A-shuffled \
	  --out results/demo/stores/shuffled
	$(BIN)/autointerp run results/demo.toml \
	  $(if $(LLM),$(MODEL) $(if $(UNITS),--units $(UNITS)) --out runs/demo-live,--out results/demo)

bench: $(VENV)/.local
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) results/demo/stores results/demo/ledger.sqlite* results/demo-live.sqlite*
