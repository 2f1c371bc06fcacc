"""DAVS, the Disentangled Audio-Visual System (Zhou et al., AAAI 2019), in JAX."""

__version__ = "0.1.0"
