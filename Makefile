# Each target does everything by itself on a fresh machine; a second call installs nothing again.
PYTHON ?= python3
VENV ?= .venv
LOWEST := .venv-lowest
# pip would compile every module of every package, one after the other; Python compiles those that are imported
INSTALL = bin/pip install --quiet --disable-pip-version-check --no-compile
PYTEST = OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n auto --dist loadfile
RUN := $(VENV)/bin/attncli
CHOSEN = $(if $(DATASET),--dataset $(DATASET)) $(if $(BACKBONE),--backbone $(BACKBONE))
SWEEP = $(CHOSEN) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS))

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-lowest lint types generate sweep compare claims report ui screenshots clean

help:           ## list the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/$(INSTALL) -e ".[dev]"
	touch $@

$(LOWEST)/.installed: pyproject.toml .ci/lowest
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest >$(LOWEST)/lowest.txt
	$(LOWEST)/$(INSTALL) -r $(LOWEST)/lowest.txt -e .
	touch $@

quickstart: $(VENV)/.installed  ## install, train resnet18 with ECA and without on real digits, compare
	$(RUN) run recipes/quickstart.yaml --attn eca
	$(RUN) run recipes/quickstart.yaml --attn none
	$(RUN) compare --dataset digits
	@echo
	@echo "Next: make ui                            the same in the MLflow dashboard"
	@echo "      $(RUN) look eca-resnet18-s0   what its attention does to images"
	@echo "      $(RUN) ls attention           the other mechanisms"
	@echo "      $(RUN) show eca               what one is and what is claimed of it"

test: $(VENV)/.installed lint types  ## install, lint, types, tests
	$(PYTEST)

test-lowest: VENV = $(LOWEST)
test-lowest: $(LOWEST)/.installed  ## the tests with the lowest versions that pyproject.toml allows, on Python 3.11
	$(PYTEST)

lint: $(VENV)/.installed        ## ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed       ## mypy, strict
	$(VENV)/bin/mypy

generate: $(VENV)/.installed    ## what is made from the mechanisms and backbones: compatibility, tables; ARGS=--all builds all
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.generate $(ARGS)

ifneq ($(filter sweep,$(MAKECMDGOALS)),)
$(if $(ATTN),,$(error ATTN is missing: make sweep ATTN=se,eca))
endif
sweep: $(VENV)/.installed       ## make sweep ATTN=se,eca RECIPE=quickstart, and DATASET BACKBONE SEEDS JOBS as below
	$(RUN) sweep --attn $(ATTN) $(if $(RECIPE),--recipe $(RECIPE)) $(SWEEP)

sweep-%: $(VENV)/.installed     ## recipes/sweeps/%.yaml (channel, spatial, survey ...), as DATASET BACKBONE SEEDS JOBS say
	$(RUN) sweep $* $(SWEEP)

compare: $(VENV)/.installed     ## compare the finished runs (of DATASET and BACKBONE)
	$(RUN) compare $(CHOSEN)

claims: $(VENV)/.installed      ## every claim of the literature, and whether it holds
	$(RUN) claims

report: $(VENV)/.installed      ## runs, claims and published figures on one page, runs/report.html
	$(RUN) report

ui: $(VENV)/.installed          ## the MLflow dashboard on runs/
	$(RUN) ui

screenshots: $(VENV)/.installed ## README's pictures from real runs, as RUNS NAME IMAGE REPORT say; needs Chromium
	$(VENV)/bin/python -m tests.browser.screenshots --runs $(or $(RUNS),runs) $(if $(NAME),--run $(NAME)) \
		$(if $(IMAGE),--image $(IMAGE)) $(if $(REPORT),--report $(REPORT))

clean:          ## remove the virtual environments and caches, keep runs/
	rm -rf $(VENV) $(LOWEST) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
