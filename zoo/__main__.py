"""``python -m calzoo`` is the command ``calzoo``."""

import sys

from calzoo.cli import main

sys.exit(main())
