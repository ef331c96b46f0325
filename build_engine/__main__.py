"""``python -m build_engine`` is ``dsr-engine``."""

import sys

from build_engine.cli import main

sys.exit(main())
