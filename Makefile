# Everything here starts from nothing but Python (3.10 or newer) and pip.
#   make demo    compile a few optimizers, train with them, write demo/report.html
#   make test    lint, types, tests
#   make lint    lint and types only
#   make bench   time steps against torch and other libraries, write bench/results/cpu.md
#   make test-thorough    all combinations of what `make test` samples
#   make test-references    every optimizer beside an implementation from elsewhere, on every backend, and loops over all files
#   make test-optimizers    what users of torch.optim rely on, for every optimizer on every backend
#   make test-sharded    every optimizer on parts of tensors (DTensors) beside whole ones, on 2 and 3 processes
#   make fuzz    random rules on every backend beside the judge, for a night; write bench/results/fuzz.md
#   make test-verdicts    claims get the same answers on a busy machine, with any hash seed
#   make test-kernels, make bench-codegen    every rule in every dtype, and as machine code for cards that are elsewhere
#   make test-texts    100,000 mutated texts through every stage, write bench/results/texts.md
#   make lift    every optimizer of torch and pytorch_optimizer as a rule, write docs/lift.md
#   make test-gpu, make bench-gpu    the same on a CUDA or ROCm device; bench/results/gpu-NAME.md
#
# On Linux pip takes torch's CUDA build (several GB). The CPU build is enough:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
EXTRAS := test,plots
WORKERS ?= 2
READY := .venv/.ready

.DELETE_ON_ERROR:
.PHONY: lift bench bench-codegen bench-gpu demo test-thorough test-verdicts test test-gpu test-kernels test-optimizers test-sharded test-references test-texts fuzz lint gallery record

demo: $(READY)
	.venv/bin/dotopt demo

# One thread a worker: the tests are small, and the workers already fill the machine.
test: lint
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(WORKERS)

# Every experiment of examples/ on one page, build/gallery/gallery.html: about ten minutes.
gallery: $(READY)
	.venv/bin/python docs/gallery.py

# Ten minutes of a processor; what a stopped run has found is kept in build/lift.jsonl.
lift: $(READY) .venv/.bench
	OMP_NUM_THREADS=1 .venv/bin/python docs/lifted.py

bench: $(READY) .venv/.bench
	.venv/bin/python bench/cpu.py
	.venv/bin/python -m bench.sequence
	.venv/bin/python -m bench.parsing

# What `make test` samples, in full: some minutes.
test-kernels: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(WORKERS) -m thorough \
		tests/test_cpu_backend.py tests/test_triton_backend.py tests/test_codegen.py

# All that other tests sample, in every file: half an hour.
test-thorough: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(WORKERS) -m thorough

# What `make test` takes a few optimizers for (tests/conftest.py says which): all of them.
test-references: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(WORKERS) -m thorough tests/test_references.py \
		tests/test_format.py tests/test_latex.py tests/test_lower.py tests/test_properties.py

# every optimizer x behaviour of torch's optimizers x backend
test-optimizers: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(WORKERS) -m thorough tests/test_torch_behaviour.py

# every optimizer and transform on parts of tensors, on 2 and 3 processes, beside one process: some minutes
test-sharded: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m thorough tests/test_sharded.py

# Some hours: RULES=2000 for a look.
RULES ?= 100000

fuzz: $(READY)
	nice .venv/bin/python -m bench.fuzz $(RULES) --jobs $(WORKERS) --write

# Hours: one text in a second or two.
test-texts: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m bench.texts 100000

# The whole library beside busy loops, with another hash seed, cold and warm: the same reports; half an hour.
test-verdicts: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m bench.verdicts

# What is found about the library, written beside its rules, for `dotopt check --recorded`: a quarter of an hour.
record: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m dotopt check stdlib --jobs $(WORKERS) --record

bench-codegen: $(READY)
	.venv/bin/python -m bench.codegen

# PYTHON_GPU: the interpreter whose torch sees the device
PYTHON_GPU ?= .venv/bin/python

test-gpu:
	$(PYTHON_GPU) -m pytest -m gpu -rs tests/test_gpu.py

bench-gpu:
	$(PYTHON_GPU) -m bench.gpu

.venv/.bench: $(READY)
	.venv/bin/pip install --constraint constraints.txt --editable '.[bench]'
	@touch $@

lint: $(READY)
	.venv/bin/ruff check
	.venv/bin/mypy

# Written last, so an installation that was cut short is begun again.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up .venv: the first time takes a minute or two, most of it for torch."
	test -x .venv/bin/pip || $(PYTHON) -m venv .venv
	.venv/bin/pip install --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $(READY)
