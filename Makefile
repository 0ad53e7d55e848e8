# Everything from a bare Python: `make demo`, `make test`. Nothing else has to be installed first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-long quick check lint install clean data bench

help:
	@echo "make demo    set up, then feed -> ranked accounts -> draft reports on the small synthetic set"
	@echo "make test    set up, then every test"
	@echo "make check   what a contributor, the commit hook and CI run: style, types, imports, sizes, tests"
	@echo "make test-long   what takes minutes more: all rules against their SQL restatement, all mutations"
	@echo "make quick   the fast tests only"
	@echo "make bench   side-by-side benchmarks (minutes, and gigabytes)"

# The demo needs the base package only.
$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(STAMP): $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(STAMP)

demo: $(VENV)/.base
	rm -rf demo && mkdir demo
	cd demo && ../$(BIN)/fintel init && ../$(BIN)/fintel run ../data/synthetic --budget 10
	cd demo && ../$(BIN)/fintel explain 1 --picture why-number-1.html
	@echo
	@echo "Look around: demo/drafts, demo/why-number-1.html, and in demo: fintel sql 'show tables'"

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# What make test leaves out: every rule against its SQL restatement, every mutation of every rule.
test-long: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m long

quick: $(STAMP)
	$(BIN)/python -m pytest -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

data: $(STAMP)
	$(BIN)/fintel synth data/synthetic --accounts 1500 --days 120 --seed 7

bench: $(STAMP)
	$(BIN)/python benchmarks/windows.py

clean:
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
