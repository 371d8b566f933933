"""``python -m fedproc.onboarding``."""

import sys

from fedproc.onboarding import main

sys.exit(main())
