"""``python -m lora_forensics.core.cli``."""

import sys

from . import main

sys.exit(main())
