# On a fresh machine with Python 3.11+, a C++17 compiler and make:
#   make demo         poses, trains and films the capture in data/demo
#   make serve        opens the page where photos become scenes; make serve HOST=0.0.0.0 for phones too
#   make test         builds everything and passes the tests, but for the long ones
#   make test-all     passes the long ones too
#   make journey      goes the whole way from a phone's photos to a shared scene in a real browser, some minutes
#   make lint         ruff and mypy
#   make fuzz         gives a thousand damaged inputs to every reader, about 2 minutes on two cores
#   make docs         builds the pages in docs/ into a site, out/docs
#   make bench        measures speed and quality, about 25 minutes on two cores
#   make torture      kills commands at random moments and checks what is left, about 15 minutes on two cores
#   make wheel        builds a wheel for other machines into dist
#   make wheel-test   installs that wheel into an empty environment and makes a picture with it
#   make clean        removes all that these have made
# All but wheel and clean use a virtual environment in .venv and set it up themselves.

PYTHON ?= python3
# A CPU build of torch; on a machine with an NVIDIA GPU you may want another (TORCH=torch make demo).
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
OUT := out
# What builds a wheel is small, and needs no torch.
TOOLS := build/tools
SOURCES := setup.py pyproject.toml $(wildcard build_support/*.py) \
	$(shell find cuda_ext -name '*.h' -o -name '*.cpp' -o -name '*.cu')

.PHONY: demo serve test test-all journey lint fuzz docs bench torture wheel wheel-test clean
.DELETE_ON_ERROR:

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nerfscene needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "$(TORCH)"

# Editable, so that a change in Python needs no new installation; the kernels are compiled here.
$(VENV)/.installed: $(BIN)/python $(SOURCES)
	@echo "installing nerfscene and compiling its kernels (a minute or two the first time)"
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/nerfscene train data/demo/images -o $(OUT)/demo-scene --time 120
	$(BIN)/nerfscene render $(OUT)/demo-scene -o $(OUT)/demo.mp4 --path orbit --seconds 6 --fps 24
	$(BIN)/nerfscene eval $(OUT)/demo-scene --sheet $(OUT)/demo-sheet.jpg | tee $(OUT)/demo-figures.txt
	@echo
	@echo "film            $(OUT)/demo.mp4"
	@echo "contact sheet   $(OUT)/demo-sheet.jpg   (photos beside renders that never saw them)"
	@echo "figures         $(OUT)/demo-figures.txt"
	@echo "scene           $(OUT)/demo-scene       (try: $(BIN)/nerfscene render $(OUT)/demo-scene -o walk.mp4 --path walkthrough)"

serve: $(VENV)/.installed
	$(BIN)/nerfscene serve $(OUT)/served --open $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

# Two processes share the suite; torch's threads, which wait by spinning, would only be in each other's way.
# The many processes that tests start would compile all modules anew if compiled ones were not kept.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed
	$(PYTEST) -m "not long"

test-all: $(VENV)/.installed
	$(PYTEST)

journey: $(VENV)/.installed
	NERFSCENE_JOURNEY=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/serve/test_journey.py \
		tests/serve/test_viewers.py::test_people_step_in_and_see_the_scene

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy nerfscene bench

# Prints the seed and the figures. SEED=N gives the same inputs again, COUNT=N another number of them.
fuzz: $(VENV)/.installed
	$(BIN)/python tests/support/fuzz.py --count $(or $(COUNT),1000) $(if $(SEED),--seed $(SEED))

# The extra's packages alone: installing nerfscene again would compile its kernels again.
$(VENV)/.docs: $(VENV)/.installed pyproject.toml
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' \
		| $(BIN)/pip install --quiet --requirement /dev/stdin
	@touch $@

# Strict: a broken link or anchor, a file that is not there or a public name without a docstring fails it.
docs: $(VENV)/.docs
	rm -rf $(OUT)/docs
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html -d build/doctrees docs $(OUT)/docs
	@echo "site            $(OUT)/docs/index.html"

bench: $(VENV)/.installed
	$(BIN)/python -m bench.run

# Another seed kills at other moments: make torture TORTURE="--seed 1".
torture: $(VENV)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=tests/support $(BIN)/python -m torture $(TORTURE)

$(TOOLS)/bin/python:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet build

# dist/nerfscene-….whl for others, with the CUDA kernels in it (NERFSCENE_CUDA=0 make wheel: without).
wheel: export NERFSCENE_CUDA := $(or $(NERFSCENE_CUDA),1)
wheel: $(TOOLS)/bin/python
	rm -f dist/nerfscene-*.whl
	$(TOOLS)/bin/python -m build --wheel
	$(TOOLS)/bin/python -m build_support.wheel dist/nerfscene-*.whl

# That wheel and all it depends on, installed from the package index where nothing is; a picture made with it.
wheel-test: wheel $(VENV)/.installed
	NERFSCENE_WHEEL=$$(echo dist/nerfscene-*.whl) TORCH="$(TORCH)" OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -q -s tests/package

clean:
	rm -rf $(VENV) $(OUT) build dist nerfscene/ops/_cpu*.so nerfscene/ops/_cuda*.so nerfscene/ops/_cuda_build.json \
		nerfscene/serve/static/vendor *.egg-info
