# Two commands do everything: `make demo` shows the service at work, `make test` runs all tests.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.PHONY: help install demo test test-unit soak soak-table lint audit secrets clean

help:
	@echo "make install   install the mernet command into $(VENV)"
	@echo "make demo      the tour: a sample archive, classified end to end, in about 5 minutes"
	@echo "make test      linters, types and every test, about 15 minutes on 2 cores"
	@echo "make test-unit the unit tests alone, less than a minute"
	@echo "make soak      200 faults, 100,000 malformed inputs, an archive down for minutes: about 45 minutes"
	@echo "make audit     published advisories on the installed packages"
	@echo "make secrets   the passwords of docker-compose.yml that do not exist yet, in secrets/"
	@echo "make clean     remove $(VENV) (the embedded databases stay where \`mernet services status\` says)"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --editable ".[learning]"
	@touch $@

$(INSTALLED_DEV): pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --editable ".[dev]"
	@touch $@ $(INSTALLED)

install: $(INSTALLED)

demo: $(INSTALLED)
	$(VENV)/bin/mernet demo

lint: $(INSTALLED_DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(BANDIT) pds model db worker cli demo bench mernet/*.py

# What is allowed, and why, is in pyproject.toml.
BANDIT := $(VENV)/bin/bandit --quiet --recursive --configfile pyproject.toml

audit: $(INSTALLED_DEV)
	$(VENV)/bin/python .ci/audit

# Several processes, each with its own servers, so that tests which wait do not hold up the others.
# A file stays in one process, for its fixtures; the files with the longest tests come first. One
# thread for each library: the processes do not compete for the cores.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/pytest --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST) --numprocesses 4

test-unit: $(INSTALLED_DEV)
	$(PYTEST) --numprocesses auto tests/unit

# SOAK_SEED, SOAK_COUNT and others: tests/faults/soak.py. `make soak-table` puts its table and log
# into docs/.
soak: $(INSTALLED_DEV)
	$(VENV)/bin/python -u tests/faults/soak.py
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -m long -s

soak-table: $(INSTALLED_DEV)
	$(VENV)/bin/python tests/faults/soak.py --document

# The folder is closed to other users; a container's user has to be able to read the files.
SECRETS := postgres_password owner_password worker_password redis_password reader_password

secrets:
	@mkdir -p -m 700 secrets
	@set -e; for name in $(SECRETS); do \
		test -s secrets/$$name || openssl rand -hex 24 > secrets/$$name; \
	done; \
	test -s secrets/flower_login || echo "operator:$$(openssl rand -hex 24)" > secrets/flower_login; \
	chmod 444 secrets/*
	@echo "secrets/ holds the passwords; keep it out of Git and in your backup"

clean:
	rm -rf $(VENV)
