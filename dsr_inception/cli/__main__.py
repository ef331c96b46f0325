"""`python -m dsr_inception.cli`: the same as `dsr-train`."""

from dsr_inception.cli import main

if __name__ == "__main__":  # cutting processes import this file again
    raise SystemExit(main())
