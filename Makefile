# The recipes that people and CI run. Each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test fuzz lint types docs shape bench bench-sandbox eval eval-session

setup: .venv/ready

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch .venv/ready

demo: setup
	$(BIN)/python bench/demo.py

test: setup
	$(BIN)/python -m pytest -n 2 tests

fuzz: setup  # cells made by chance, until a time is up; FUZZ_SECONDS=3600 for longer
	$(BIN)/python -m tests.sandbox.test_fuzz --seconds $(or $(FUZZ_SECONDS),300)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cog --check -I docs README.md docs/tools.md docs/security.md docs/api.md

types: setup
	$(BIN)/mypy

docs: setup
	$(BIN)/cog -r -I docs README.md docs/tools.md docs/security.md docs/api.md

shape: setup
	$(BIN)/python bench/shape.py

bench: setup
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/data_plane.py
	$(BIN)/python bench/engine.py

bench-sandbox: setup
	$(BIN)/python bench/sandbox.py

eval: eval-session

eval-session: setup
	$(BIN)/python bench/session.py
