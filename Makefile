# Aliases for those who type make; the commands are run.py's.
COMMANDS := demo test lint bench chaos setup lock
.PHONY: $(COMMANDS)
$(COMMANDS):
	python3 run.py $@

# On a machine with an NVIDIA GPU, TensorRT or TensorRT-RTX, and pycuda: builds engines and runs them.
.PHONY: test-gpu
test-gpu:
	.venv/bin/python -m build_engine.gpu_check

# models/ again from nothing, half a day on two cores: the recipes one after another, threshold, INT8 files.
#   make weights DLIB=FOLDER MF=FOLDER_OR_TAR SPLITS=splits.json CONSENT=consent.json
RUNS ?= runs
RECIPES := cpu cpu_continue cpu_further cpu_quantised
BIN := .venv/bin
LAST := $(RUNS)/$(lastword $(RECIPES))/recogniser.keras
.PHONY: weights
weights:
	$(if $(and $(DLIB),$(MF),$(SPLITS),$(CONSENT)),,$(error give DLIB=, MF=, SPLITS= and CONSENT=; see docs/training.md))
	set -e; init=; for recipe in $(RECIPES); do \
	    mkdir -p $(RUNS)/$$recipe; \
	    for made in photos teacher; do ln -f $(RUNS)/cpu/$$made.npy $(RUNS)/$$recipe/ 2>/dev/null || true; done; \
	    $(BIN)/dsr-train pretrain --recipe dsr_inception/recipes/$$recipe.yaml --out $(RUNS)/$$recipe --dlib $(DLIB) $$init; \
	    init="--init $(RUNS)/$$recipe/recogniser.keras"; done
	$(BIN)/python -m build_engine.export --weights $(LAST) --out models
	$(BIN)/dsr-train threshold --out $(RUNS)/threshold.json
	$(BIN)/python -m build_engine.export --weights $(LAST) --out models --threshold $(RUNS)/threshold.json
	$(BIN)/dsr-engine release $(MF) --splits $(SPLITS) --consent $(CONSENT) --work $(RUNS)/release
