# The recipes that people and CI run. Each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test attack fuzz lint types docs shape faults bench bench-sandbox eval eval-session eval-retrieval

setup: .venv/ready

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch .venv/ready

demo: setup
	$(BIN)/python bench/demo.py

test: setup
	$(BIN)/python -m pytest -n 2 tests

ATTACKS := tests/sandbox tests/git tests/redact tests/test_marks.py tests/test_reply.py \
	tests/test_confine.py tests/test_config.py tests/test_hostile_config.py tests/test_trust.py \
	tests/corpus/test_hard_patterns.py tests/corpus/test_hostile_files.py \
	tests/contexts/test_hostile_files.py tests/contexts/test_hostile_git.py \
	tests/contexts/test_history_of_hostile_names.py tests/engine/test_hostile_answers.py \
	tests/engine/test_hostile_arguments.py tests/engine/test_in_cells.py \
	tests/engine/test_redaction.py tests/client/test_plugin.py tests/client/test_server.py \
	tests/server/test_bad_input.py tests/server/test_jsonrpc.py tests/server/test_limits.py \
	tests/server/test_http.py tests/server/test_secrets.py

attack: setup  # every attack corpus and every test of hostile input
	$(BIN)/python -m pytest -n 2 $(ATTACKS)

FAULTS := tests/corpus/store/test_freshness.py tests/corpus/store/test_corpus.py \
	tests/corpus/store/test_watch.py tests/engine/test_damage.py tests/engine/test_leaks.py \
	tests/engine/test_resume.py tests/engine/test_write_queue.py tests/models/test_retry.py

faults: setup  # kills, damage, full disks, leaks, and 510 looks behind random changes for each seed
	$(BIN)/python -m pytest -n 0 $(FAULTS)
	for seed in $(or $(SEEDS),0 1 2 3 4 5 6 7 8 9); do PYTHONHASHSEED=$$seed \
		$(BIN)/python -m tests.corpus.store.test_freshness 170 $$seed || exit 1; done

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

eval-retrieval: setup  # FOLDER=tree QUESTIONS=file.jsonl, a line {"question": ..., "paths": [...]} each
	$(BIN)/python bench/retrieval.py $(FOLDER) $(QUESTIONS)
