# Aliases for those who type make; the commands are run.py's.
COMMANDS := demo test lint bench chaos setup lock
.PHONY: $(COMMANDS)
$(COMMANDS):
	python3 run.py $@

# On a machine with an NVIDIA GPU, TensorRT or TensorRT-RTX, and pycuda: builds engines and runs them.
.PHONY: test-gpu
test-gpu:
	.venv/bin/python -m build_engine.gpu_check
