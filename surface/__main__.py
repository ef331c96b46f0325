"""``python -m surface``: the same as ``dsr-surface``."""

import sys

from surface.cli import main

sys.exit(main())
