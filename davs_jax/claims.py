"""Former name of `davs_jax.ablations`, kept for documented commands."""

import sys

from davs_jax.ablations.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
