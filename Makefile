# Two commands do everything: `make demo` shows the service at work, `make test` runs all tests.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.PHONY: help install demo test lint clean

help:
	@echo "make install   install the mernet command into $(VENV)"
	@echo "make demo      the tour: a sample archive, classified end to end, in about 5 minutes"
	@echo "make test      linters, types and every test, at most 25 minutes"
	@echo "make clean     remove $(VENV) (the embedded databases stay where \`mernet services status\` says)"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --editable .
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

test: lint
	$(VENV)/bin/python -m pytest

clean:
	rm -rf $(VENV)
