# Aliases for those who type make; the commands are run.py's.
COMMANDS := demo test lint bench chaos setup lock
.PHONY: $(COMMANDS)
$(COMMANDS):
	python3 run.py $@

# On a machine with an NVIDIA GPU, TensorRT or TensorRT-RTX, and pycuda: builds engines and runs them.
.PHONY: test-gpu
test-gpu:
	.venv/bin/python -m build_engine.gpu_check

# models/ again from nothing: the recipes one after another, threshold, INT8 files.
#   make weights DLIB=FOLDER MF=FOLDER_OR_TAR SPLITS=splits.json CONSENT=consent.json
# Half a day on two cores; RECIPES="gpu gpu_further" BACKEND=jax leads to the shipped weights, minutes on a GPU.
# Called again after an interruption it goes on. MINUTES=1 PHOTOS=600, either or both, is a first look: so many
# minutes a recipe, so many photos, everything into runs/first-look, and models/ stays as it is.
FIRST_LOOK := $(MINUTES)$(PHOTOS)
RUNS ?= $(if $(FIRST_LOOK),runs/first-look,runs)
MODELS ?= $(if $(FIRST_LOOK),$(RUNS)/models,models)
BACKEND ?= tensorflow
RECIPES := cpu cpu_continue cpu_further cpu_quantised
BIN := .venv/bin
LAST := $(RUNS)/$(lastword $(RECIPES))/recogniser.keras
TOLD := --dlib $(DLIB) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(PHOTOS),--photos $(PHOTOS))
EXPORT := $(BIN)/python -m build_engine.export --weights $(LAST) --out $(MODELS)
.PHONY: weights
weights:
	$(if $(and $(DLIB),$(MF),$(SPLITS),$(CONSENT)),,$(error give DLIB=, MF=, SPLITS= and CONSENT=; see docs/training.md))
	set -e; init=; for recipe in $(RECIPES); do run=$(RUNS)/$$recipe; \
	    mkdir -p $$run; \
	    for made in photos teacher; do ln -f $(RUNS)/cpu/$$made.npy $$run/ 2>/dev/null || true; done; \
	    if [ -f $$run/checkpoint.npz ]; then KERAS_BACKEND=$(BACKEND) $(BIN)/dsr-train resume --out $$run $(TOLD); \
	    else KERAS_BACKEND=$(BACKEND) $(BIN)/dsr-train pretrain --recipe dsr_inception/recipes/$$recipe.yaml --out $$run $(TOLD) $$init; fi; \
	    init="--init $$run/recogniser.keras"; done
	mkdir -p $(MODELS); test -f $(MODELS)/dsr_inception.json || cp models/dsr_inception.json $(MODELS)/
	$(EXPORT)
	$(BIN)/dsr-train threshold --model $(MODELS)/dsr_inception.onnx --out $(RUNS)/threshold.json
	$(EXPORT) --threshold $(RUNS)/threshold.json
	cp $(LAST) $(MODELS)/dsr_inception.keras; cp $(LAST).json $(MODELS)/dsr_inception.keras.json
	set -e; sed '1s/^/recipe,/;q' $(RUNS)/$(firstword $(RECIPES))/log.csv > $(MODELS)/training_log.csv; \
	for recipe in $(RECIPES); do sed "1d;s/^/$$recipe,/" $(RUNS)/$$recipe/log.csv; done >> $(MODELS)/training_log.csv
	$(BIN)/dsr-engine release $(MF) --model $(MODELS)/dsr_inception.json --splits $(SPLITS) --consent $(CONSENT) \
	    --work $(RUNS)/release
