# make quickstart   installs, makes the synthetic corpus, trains, evaluates; writes a video and a report
# make test         installs and runs the style check and all tests but the long ones (CONTRIBUTING.md)
# make check        installs and checks the style only

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
DATA := data/quickstart
RUNS := runs/quickstart
STAGES := word person generator joint

# Training on a CPU is a quarter quicker with large pages (davs_jax/parallel/large_pages.py).
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: setup quickstart test check clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name a newer one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[synthetic,provenance]'
	@touch $@

$(TESTABLE): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

# Each command resumes where it was killed: rerun `make quickstart`.
quickstart: $(INSTALLED)
	$(BIN)/python -m data_prep.synthetic --output $(DATA)/raw --size 128
	$(BIN)/python -m data_prep.lrw --input $(DATA)/raw/lipread_mp4 --output $(DATA)/clips --image-size 64
	$(BIN)/python -m data_prep.faces --input $(DATA)/raw/faces --output $(DATA)/faces --image-size 64
	set -e; for stage in $(STAGES); do \
		$(BIN)/python -m davs_jax.main --config configs/quickstart.py:$$stage --workdir $(RUNS)/$$stage; \
	done
	$(BIN)/python -m davs_jax.generate --checkpoint $(RUNS)/joint --photo $(DATA)/raw/photos/t000.png \
		--points $(DATA)/raw/photos/t000.json --audio $(DATA)/raw/speech/t001.wav \
		--output $(RUNS)/talking.mp4 --contact-sheet $(RUNS)/talking.png
	$(BIN)/python -m davs_jax.evaluate --checkpoint $(RUNS)/joint --data $(DATA)/clips --output $(RUNS)/report
	@echo
	@echo "talking-face video: $(RUNS)/talking.mp4  (frames: $(RUNS)/talking.png)"
	@echo "report:             $(RUNS)/report/report.html"

test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --max-worker-restart 0

check: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(DATA) $(RUNS)
