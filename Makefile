# Aliases for those who type make; the commands are run.py's.
COMMANDS := demo test lint bench chaos setup lock
.PHONY: $(COMMANDS)
$(COMMANDS):
	python3 run.py $@
