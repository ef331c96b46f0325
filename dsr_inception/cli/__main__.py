"""`python -m dsr_inception.cli`: the same as `dsr-train`."""

from dsr_inception.cli import main

raise SystemExit(main())
