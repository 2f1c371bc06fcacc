"""Other talking-face systems, for comparison with DAVS on the same clips: one package each (`davs_jax.systems`)."""
