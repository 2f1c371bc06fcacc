"""The command line: `python -m davs_jax.sync`."""

import sys

from davs_jax.sync.audio_offset import main

sys.exit(main())
