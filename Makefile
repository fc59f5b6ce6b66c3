# make demo: the whole workflow on the built-in data.  make test: linters and tests.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)

.PHONY: environment demo test lint schema clean

# What the workflow and the command `wsss` run in; `. .venv/bin/activate` puts both into a shell's path.
environment: .venv/bin/wsss

demo: environment
	snakemake --cores all --quiet host reason -- results/demo/miou.csv results/demo/pictures/done.txt results/demo/gallery/index.html
	@wsss show results/demo/miou.csv
	@echo "Table: results/demo/miou.csv   Pictures: results/demo/pictures/*.png   Logs: logs/demo/"
	@echo "Every stage in a browser: results/demo/gallery/index.html"

test: .venv/.dev lint
	python -m pytest -n 2 --max-worker-restart 2 --dist loadscope -q tests examples

lint: .venv/.dev
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	lint-imports
	mypy
	snakemake --lint

# The editor's schema of config.yaml and its reference, from the types.
schema: environment
	python -m workflow_scripts.config.schema > docs/config.schema.json
	python -m workflow_scripts.config.reference > docs/config.md

.venv/.workflow: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

# The path of this tree is not in it, so that a .venv may be linked into several.
.venv/bin/wsss: envs/wsss .venv/.workflow
	install -m 755 envs/wsss $@

.venv/.dev: requirements-dev.txt requirements-cluster.txt .venv/bin/wsss
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv .snakemake logs
