# `make help` says what each target is for.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help env demo test verify real integration images push lock docs site clean

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3 python3.14,$(shell command -v $(name) 2> /dev/null)))
LOCKS := containers/requirements
ENV := .venv/.complete
IN_ENV := PATH="$(CURDIR)/.venv/bin:$$PATH" NXF_OFFLINE=true

help:
	@echo "make demo         the whole pipeline on a simulated cohort, to results/demo/report/report.html"
	@echo "make test         every check and test"
	@echo "make verify       attacks of every kind, up to an hour; one part: make verify PART=fuzz (disk, kill, hostile, same, scale)"
	@echo "make real         the whole pipeline and the model in the box on real data: make real DATA=<folder>"
	@echo "make env          the environment alone, in .venv"
	@echo "make images       container images: make images BASE=<a Debian or Ubuntu image with Python 3.11 or later>"
	@echo "make push         push the images that make images built: make push REGISTRY=<registry/group/>"
	@echo "make integration  the tests that need Docker, Slurm or Apptainer"
	@echo "make lock         lock the requirements again (needs uv and a network)"
	@echo "make docs         docs/parameters.md from nextflow_schema.json"
	@echo "make site         the documentation as a site, in site/"
	@echo "make clean        remove .venv and everything that runs leave here, but no results"

env: $(ENV)

# Packages, Java, Nextflow and its strict parser, each as locked. The stamp comes last, so that an interrupted installation is done again.
$(ENV): $(LOCKS)/dev.txt $(LOCKS)/nextflow.sha256 $(LOCKS)/nf-lang.sha256 containers/install_nextflow.py
	@"$(or $(PYTHON),false)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: Python 3.11 or later is needed; name one by make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/dev.txt
	.venv/bin/python -m compileall -q -j 0 .venv/lib > /dev/null || true  # tests of some packages hold wrong syntax on purpose
	.venv/bin/python containers/install_nextflow.py
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .  # the tools as commands
	containers/try_tools.sh .venv/bin/python
	touch $@

demo: $(ENV)
	$(IN_ENV) nextflow run main.nf -profile test -resume --outdir results/demo

test: $(ENV)
	$(IN_ENV) .venv/bin/python tests/run_all.py

verify: $(ENV)
	$(IN_ENV) .venv/bin/python tests/verify/run_all.py $(PART)

real: $(ENV)
	$(IN_ENV) tests/real_chr22.py --data "$(or $(DATA),$(error name the folder of the real data: make real DATA=<folder>))"
	$(IN_ENV) benchmarks/real_effects.py --data "$(DATA)" --work results/real_effects

integration: $(ENV)
	$(IN_ENV) tests/integration/run_all.sh

images:
	containers/build.sh $(BASE)

push:
	containers/push.sh "$(or $(REGISTRY),$(error name where to: make push REGISTRY=registry.example.org/group/))"

docs: $(ENV)
	.venv/bin/python docs/make_parameters.py

site: $(ENV)
	.venv/bin/python -m mkdocs build --strict --site-dir site

lock:
	cd $(LOCKS) && for set in build dev torch core align enformer; do \
	    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	        $(if $(UPGRADE),--upgrade) --build-constraints build.in \
	        $$([ $$set = build ] || [ $$set = dev ] || echo --constraints dev.txt) $$set.in -o $$set.txt; \
	done
	.venv/bin/python containers/install_nextflow.py --lock

clean:
	rm -rf .venv .nextflow* .nf-test* .pytest_cache .mypy_cache .ruff_cache work
