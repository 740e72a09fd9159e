# Every target sets up .venv by itself: Python 3.11 or newer and make are all that it takes.
# Another Python: make demo PYTHON=python3.12. Parts of a benchmark: make bench BENCH="--parts latency"
# Half an hour of a long run: make fuzz FUZZ="--minutes 30"
# The newest packages instead of the versions in requirements-dev.lock: make test LOCK=/dev/null

PYTHON ?= python3
LOCK ?= requirements-dev.lock
INSTALL = -m pip install --quiet --disable-pip-version-check --constraint '$(LOCK)'
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PARTS := datasets plan lower kernels runtime train data inspection view page

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check lock pythons soak fuzz load bench peer-tests coverage docs speeds clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP) ## train the MNIST convnet, then look at it without its pooling
	@$(PY) examples/mnist_convnet.py

test: $(STAMP) ## run the tests, on two cores
	@$(PY) -m pytest -q -n 2 --dist worksteal

test-all: $(STAMP) ## run the long tests as well
	@$(PY) -m pytest -q -n 2 --dist worksteal -m "long or not long"

check: $(STAMP) ## ruff, mypy, and known holes in what is installed
	@$(PY) -m ruff check .; style=$$?; $(PY) -m mypy; types=$$?; \
		$(PY) -m tests.audit && exit $$((style | types))

lock: $(STAMP) ## write requirements-dev.lock: the newest versions of all packages
	@$(PY) -m tests.lock

pythons: $(STAMP) ## install the wheel under each Python from 3.11 on that is here, and train with it
	@$(PY) -m tests.pythons

soak: $(STAMP) ## kill 1,000 processes while they write or train, and look at what they leave (half an hour)
	@$(PY) -m tests.robust.kills

fuzz: $(STAMP) ## try a million hostile arrays, models, files and command lines (two hours; goes on where it was)
	@$(PY) -m tests.robust.fuzz --record build/fuzz.json $(FUZZ)

load: $(STAMP) ## 100,000 calls, 1,000 models made and dropped: what a process then holds (half an hour)
	@$(PY) -m tests.robust.load

bench: $(STAMP) ## measure all of docs/benchmarks.md: half an hour (sets up .venv-peers: 3 GB)
	@$(PY) -m benchmarks.everything $(BENCH)

peer-tests: $(STAMP) ## run Keras' own tests through the compiler
	@$(PY) -m tests.peers

coverage: $(STAMP) ## write docs/coverage.md: what of Keras is compiled
	@$(PY) docs/rebuild_coverage.py

docs: $(VENV)/.docs ## make the lesson and its notebook again, and a reference in build/docs
	@$(PY) docs/rebuild_lesson.py
	@$(PY) docs/lesson_notebook.py
	@$(PY) -m pdoc --output-directory build/docs convmill $(addprefix convmill.,$(PARTS))

speeds: $(STAMP) ## make the README's speeds and its two terminal pictures again, in one run
	@$(PY) docs/rebuild_speeds.py

clean: ## remove caches and build outputs; .venv, models and measurements stay
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name .venv -prune -o -name .venv-peers -prune -o -name .git -prune \
		-o -name __pycache__ -type d -print | while read -r folder; do rm -rf "$$folder"; done

# The stamp is written last: an installation that was interrupted starts again.
$(STAMP): pyproject.toml $(wildcard $(LOCK))
	@command -v '$(PYTHON)' >/dev/null 2>&1 || { \
		echo "convmill needs Python 3.11 or newer, and there is no '$(PYTHON)' here." >&2; \
		echo "Install it, or name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "convmill needs Python 3.11 or newer; '$(PYTHON)' is $$('$(PYTHON)' --version 2>&1)." >&2; \
		echo "Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' comes without venv and ensurepip, which set up $(VENV)." >&2; \
		echo "On Debian and Ubuntu: sudo apt install python3-venv. Then run make again." >&2; exit 1; }
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Setting up $(VENV) (once, a few minutes) ..."; '$(PYTHON)' -m venv --clear $(VENV); }
	@$(PY) $(INSTALL) --editable '.[dev]' || { \
		echo "The packages could not be installed: see pip's message above. Then run make again." >&2; exit 1; }
	@touch $@

$(VENV)/.docs: $(STAMP)
	@$(PY) $(INSTALL) --editable '.[docs]'
	@touch $@
