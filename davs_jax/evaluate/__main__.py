"""The command line: `python -m davs_jax.evaluate`."""

import sys

from davs_jax.evaluate.evaluation import main

sys.exit(main())
