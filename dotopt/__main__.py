"""`python -m dotopt`: the command line."""

import sys

from dotopt.runtime.cli import main

sys.exit(main())
