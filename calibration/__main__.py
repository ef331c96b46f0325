"""``python -m calibration`` is ``dsr-calibrate``."""

import sys

from calibration.cli import main

sys.exit(main())
