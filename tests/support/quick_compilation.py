"""XLA's flags for tests: most of their time is compilation, which these make several times faster. Imports no JAX."""

import importlib.metadata

FLAGS = "--xla_backend_optimization_level=0"
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):  # later ones end at unknown flags
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
