# make tiny: everything in minutes, on a laptop. make help lists the rest.

PYTHON ?= python3
VENV ?= .venv
# cpu: the build of torch that pip finds for this machine. cuda: the CUDA build, with hashes. See README, "Which torch".
TORCH ?= cpu
# Address of a package index with another build of torch, or empty.
TORCH_INDEX ?=
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export HF_HUB_DISABLE_TELEMETRY := 1
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
HASHED := $(PIP) install --no-deps --require-hashes
TORCH_BUILD := $(HASHED) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Which image: cpu (the tiny world, anywhere) or cuda (the paid run).
TARGET ?= cpu
# Where images are published, and what this one is called there.
REPOSITORY ?= reinforce-lite/reinforce-lite
TAG := $(VERSION)$(if $(filter cpu,$(TARGET)),-cpu)
IMAGE := reinforce-lite:$(TARGET)
SIF := reinforce-lite-$(TARGET).sif
DOCKER_BUILD ?= docker build
export DOCKER_BUILDKIT := 1

.PHONY: help setup tiny reference test test-faults test-fast lint ui lock schema clean image sif test-containers test-built-containers sbom audit push pin bench-gpu docs slurm test-deploy

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1 | \2/' | column -t -s '|'

setup: $(VENV)/.installed-$(TORCH)  ## create .venv from the locks in envs/

$(VENV)/.installed-%: envs/runtime.txt envs/dev.txt envs/torch_cpu.txt envs/torch.txt envs/torch_cuda.txt envs/cuda.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make setup PYTHON=python3.12")'
	@echo "installing into $(VENV) (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(HASHED) -r envs/dev.txt
	$(if $(filter cuda,$*),$(HASHED) -r envs/cuda.txt,$(TORCH_BUILD) -r envs/torch_cpu.txt 2>/dev/null || $(TORCH_BUILD) -r envs/torch.txt)
	$(PIP) check >/dev/null || $(HASHED) -r envs/torch_cuda.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	$(if $(filter cuda,$*),$(BIN)/python -c 'from vllm import LLM')
	@touch $@

# In environments of their own: the validator of RO-Crates wants a rich that is older than the one of the other locks,
# and neither the site nor the clouds have anything to do with the package.
$(VENV)/%/.installed: envs/%.txt
	$(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --require-hashes -r envs/$*.txt
	@touch $@

slurm: setup  ## what profiles/slurm needs beside it: snakemake --profile profiles/slurm
	$(HASHED) -r envs/slurm.txt
	$(BIN)/python -m pip check

docs: $(VENV)/docs/.installed  ## the site of README, config, results and docs: build/docs/index.html
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs --quiet build --strict

tiny: setup  ## the whole DAG on the tiny world: results/tiny/report.html
	snakemake --cores 2 --configfile config/tiny.yaml
	@echo "read results/tiny/report.html; 'make ui' opens MLflow"

reference: tiny  ## keep this clone's tiny run as results/reference, with a picture and a social preview (maintainers)
	mkdir -p results/reference
	cp $(addprefix results/tiny/,report.html summary.json verdicts.json traces.json config.json) results/reference/
	$${CHROMIUM:-chromium} --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1200,1500 \
		--screenshot=$(CURDIR)/results/reference/report.png file://$(CURDIR)/results/reference/report.html
	$${CHROMIUM:-chromium} --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,640 \
		--screenshot=$(CURDIR)/results/reference/preview.png file://$(CURDIR)/results/reference/report.html

# How many tests run side by side. Each on one thread: threads that wait for each other on busy cores take ten times as long.
WORKERS ?= 2
test: export OMP_NUM_THREADS := 1
test: setup $(VENV)/crate/.installed  ## the tests, the DAG included, WORKERS=2 at a time
	pytest --doctest-modules src
	pytest -m "not faults" --numprocesses $(WORKERS) --dist worksteal

test-faults: export OMP_NUM_THREADS := 1
test-faults: setup  ## everything that may go wrong, again and again; writes benchmarks/results/faults.json (40 minutes on two quiet cores)
	@mkdir -p benchmarks/results
	pytest -m "faults or survives" --numprocesses $(WORKERS) --dist worksteal --faults-json benchmarks/results/faults.json

test-deploy: setup $(VENV)/deploy/.installed  ## deploy/ as SkyPilot and the API of Kubernetes read it, without a cloud or a cluster
	pytest tests/test_deploy.py

test-fast: setup  ## the tests that take seconds
	pytest -m "not slow and not faults"

# Which models bench-gpu measures: 3b (the article's, random weights: a GPU of 80 GB), or small, a dry run on any machine.
SHAPE ?= 3b
# Which parts, in this order (PARTS="engines memory"), and seconds for all of them; FORCE=1 runs again what is done.
PARTS ?= engines published_loop memory optimizer start peers scaling
LIMIT ?= 600
bench-gpu: setup  ## speed and memory at the 3B shapes in ten minutes: benchmarks/results/gpu (SHAPE=small: a dry run)
	python benchmarks/gpu.py --shape $(SHAPE) --parts $(PARTS) --seconds $(LIMIT) $(if $(FORCE),--force)

lint: setup  ## ruff, mypy, snakefmt, snakemake --lint, hadolint, shellcheck, schemas of compose and GitHub workflows
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint
	hadolint Dockerfile
	shellcheck docker/*.sh envs/*.sh deploy/*.sh tests/workflow/*.sh .ci/run
	check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml

# With AUTH=1 it asks for a user and a password: README, "MLflow's pages".
AUTH ?=
PORT ?= 5000
ui: setup  ## MLflow UI on the runs' database: the addresses of runs and reports
	reinforce-lite ui --port $(PORT) $(if $(AUTH),--auth)

image:  ## the Docker image reinforce-lite:cpu, or with TARGET=cuda reinforce-lite:cuda
	@docker version >/dev/null 2>&1 || { echo "a running Docker engine is needed (docker version says why there is none)"; exit 1; }
	$(DOCKER_BUILD) --target $(TARGET) --tag $(IMAGE) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(shell git rev-parse HEAD)$(shell git diff --quiet HEAD || echo -dirty) \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) .

sif: image  ## the same image as a file for Apptainer: reinforce-lite-cpu.sif
	@command -v apptainer >/dev/null || { echo "apptainer is needed, and is not on PATH"; exit 1; }
	apptainer --quiet build --force --mksquashfs-args "-comp zstd -Xcompression-level 1" $(SIF) docker-daemon:$(IMAGE)

test-containers: setup sif test-built-containers  ## the image under Docker and Apptainer, against a run on this machine (half an hour; TEST_WORLD=mini: ten minutes)

# A file of tests stays in one process, so that Docker and Apptainer are used side by side.
test-built-containers: setup  ## the same, with the image and the file for Apptainer as they are
	TEST_IMAGE=$(IMAGE) TEST_SIF=$(CURDIR)/$(SIF) pytest tests/containers --numprocesses $(WORKERS) --dist loadfile

sbom:  ## the image's Python packages as CycloneDX: reinforce-lite-cpu.cdx.json
	docker run --rm $(IMAGE) sbom > reinforce-lite-$(TARGET).cdx.json

audit: setup  ## known vulnerabilities of the locked packages (asks the package index)
	$(BIN)/python -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --require-hashes -r envs/audit.txt
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps -r envs/runtime.txt $(if $(filter cuda,$(TARGET)),-r envs/cuda.txt)

push:  ## publish the image as REPOSITORY:TAG and print its digest (maintainers; docker login first)
	docker tag $(IMAGE) $(REPOSITORY):$(TAG)
	docker push $(REPOSITORY):$(TAG)
	@docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' $(IMAGE) | grep '^$(REPOSITORY)@'

pin:  ## write a published digest into config/: make pin TARGET=cpu DIGEST=sha256:... (maintainers)
	@echo '$(DIGEST)' | grep -qE '^sha256:[0-9a-f]{64}$$' || { echo "give DIGEST=sha256:..., as make push printed it"; exit 1; }
	sed -i 's|image: docker://.*|image: docker://$(REPOSITORY)@$(DIGEST)  # $(TAG)|' \
		$(if $(filter cpu,$(TARGET)),$(addprefix config/,tiny.yaml tiny_countdown.yaml tiny_knights.yaml smollm.yaml),\
		$(addprefix config/,config.yaml tinyzero.yaml logic_rl.yaml))

# In an environment of its own: it needs neither torch nor anything else that the locks pin.
$(VENV)/lock/.installed: envs/uv.txt
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --require-hashes -r envs/uv.txt
	@touch $@

lock: $(VENV)/lock/.installed  ## resolve all versions again and write envs/; UPGRADE=1 takes the newest (maintainers)
	UV=$(VENV)/lock/bin/uv UPGRADE=$(UPGRADE) envs/lock.sh

schema: setup  ## generate what is generated: JSON schema, the workflow's stages, the key tables of config/README.md
	$(BIN)/python -m reinforce_lite.config > workflow/schemas/config.schema.json
	$(BIN)/python -m reinforce_lite.stages > workflow/stages.json
	$(BIN)/python config/document.py

clean:  ## remove the environment and the caches; results stay
	rm -rf $(VENV) .snakemake .mypy_cache .ruff_cache .pytest_cache .hypothesis
