#!/usr/bin/env bash
# A GPU's day: one command that measures this project on an accelerator, within nine minutes.
#
#   tests/benchmarks/accelerator.sh [--output FOLDER] [--minutes 9] [--parts PART …] [--toy]
#
# Writes FOLDER/results.json and FOLDER/results.md after every part: rates of matrix products and memory; cold and warm
# start; training steps of every stage at 256 px, published in float32 and recommended in bfloat16, with their longest
# kernels; the same step in PyTorch; the loader; generation beside the official way; larger batches. Rerun the command to
# measure what was not reached: parts that have ended well are kept, as long as the code is the same.
#
# Needs the packages that pyproject.toml names, jax with its plug-in for the accelerator, scikit-image, and, for the
# comparison, PyTorch. Reads no other files than the checkout's. PYTHON names another interpreter than python3.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD:$PWD/tests${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" tests/benchmarks/accelerator.py "$@"
