# Everything runs from a fresh clone with python3 (3.11 or later), pip and make; each target sets up what it needs.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
# Tests wait for processes and disks for most of their time: four at a time keep two cores at work (0096).
WORKERS ?= 4
# Each of the four reads every test: kept bytecode makes that a third of the work, whatever .ci/run set. It is made
# once, before they start side by side (0269).
BESIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PARTS  := audit . kit plugins/interqual_like plugins/mcg_like plugins/two_midnight
SOURCES := umbridge audit kit plugins tests bench

.DEFAULT_GOAL := help
.PHONY: help run test check bench answerbench ledgerbench docs vectors faults attacks corpora mutants clean

help:            ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

# compileall: what only plugins' own processes import would be compiled at each start, for they may write nothing.
# venv without ensurepip: Debian's python3 has none; the machine's own pip installs into it.
$(STAMP): pyproject.toml constraints.txt $(foreach p,$(PARTS),$(p)/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit("umbridge needs python 3.11 or later, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(PY) || $(PYTHON) -m venv --without-pip $(VENV)
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -m pip --python $(PY) install --quiet --no-warn-script-location --disable-pip-version-check -c constraints.txt \
	  -e './audit[store]' -e '.[dev]' -e ./kit -e ./plugins/interqual_like -e ./plugins/mcg_like -e ./plugins/two_midnight
	@$(PY) -m compileall -q umbridge audit/umbridge_audit kit plugins
	@touch $(STAMP)

run: $(STAMP)    ## the whole job in miniature on this machine: feed, screens, ledger, verification
	@$(VENV)/bin/umbridge demo

test: $(STAMP)   ## every test (the longer suites run a counted short version here)
	@PYTHONDONTWRITEBYTECODE= $(PY) tests/rewritten.py
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest $(BESIDE)

check: $(STAMP)  ## format, lint, types, import direction, documents
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(PY) -m pytest tests/test_docs.py tests/test_architecture.py tests/test_demo.py::test_readme_shows_what_make_run_prints

bench: $(STAMP)  ## throughput and latency, beside the peers; AGAINST=DIR: beside another checkout, in turn
	@$(PY) bench/run.py $(if $(AGAINST),--against $(AGAINST))

answerbench: $(STAMP) ## CPU and log of an answer, without sockets; AGAINST=DIR: another checkout in turn
	@$(PY) bench/answer.py $(if $(AGAINST),--against $(AGAINST))

ledgerbench: $(STAMP) ## what the ledger costs an entry: append, verify, receipts, bytes
	@$(PY) bench/ledger.py --entries 10000 100000 --write

docs: $(STAMP)   ## write docs/cli.md, and README's transcript and figures, from the program itself
	@$(PY) docs/generate.py

vectors: $(STAMP) ## write again the test vectors, the tables as SQL, and who sees what
	@$(PY) audit/tests/make_vectors.py
	@$(PY) audit/tests/make_matrix.py
	@$(PY) tests/make_tables.py
	@$(PY) tests/make_disclosures.py
	@$(PY) tests/vectors/hl7/make.py

faults: $(STAMP) ## the long version of the fault suite: kills, power cuts, writes, the wire, bad input
	@UMBRIDGE_KILLS=60 UMBRIDGE_FAULTS=1 $(PY) -m pytest tests/test_faults.py tests/test_store_faults.py tests/test_wire_faults.py tests/test_bad_input.py tests/test_hostile_turns.py tests/test_store_host.py tests/test_listener.py audit/tests/test_crash.py

attacks: $(STAMP) ## the long version of the plugin attacks: each 50 times, in a daemon that screens 100 messages/s
	@UMBRIDGE_ATTACKS=50 $(PY) -m pytest tests/test_siege.py

corpora: $(STAMP) ## every stranger's message beside both other readers: minutes, as hl7apy is slow
	@UMBRIDGE_CORPORA=all $(PY) -m pytest tests/test_corpora.py -s

mutants: $(STAMP) ## change the code of the verifier and of holds a little: tests must notice (an hour; CHANGED=1: modules changed since)
	@$(PY) audit/tests/mutants.py --write $(if $(CHANGED),--changed)

clean:           ## remove the environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
