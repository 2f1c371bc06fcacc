"""The command line: `python -m davs_jax.import_official`."""

import sys

from davs_jax.import_official.convert import main

sys.exit(main())
