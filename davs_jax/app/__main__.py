"""The command line: `python -m davs_jax.app`."""

import sys

from davs_jax.app.server import main

sys.exit(main())
