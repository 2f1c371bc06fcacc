#!/usr/bin/env bash
# One training stage on Cloud TPU VMs, requested as a queued resource; needs gcloud, logged in.
#
#   launch/tpu_vm.sh request                                   requests the slice (which may take hours)
#   launch/tpu_vm.sh state                                     WAITING_FOR_RESOURCES, …, ACTIVE
#   launch/tpu_vm.sh setup                                     copies this repository there and installs it
#   launch/tpu_vm.sh train configs/lrw_word.py /mnt/davs/runs/lrw_word [--config.data.batch_size=256 …]
#   launch/tpu_vm.sh delete                                    releases it: it costs money until then
#
# Data and workdir must lie on a disk that all hosts have mounted (Filestore, Cloud Storage FUSE). A spot slice may be
# preempted: request, setup and train again, and the run resumes from its newest checkpoint.
set -euo pipefail

: "${PROJECT:?the Google Cloud project}"
ZONE=${ZONE:-us-west4-a}
NAME=${NAME:-davs}                        # of the request and of the slice
TYPE=${TYPE:-v5litepod-16}                # v5litepod-16, v6e-256, v5p-128 (counts cores), …
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}   # v2-alpha-tpuv6e, v2-alpha-tpuv5, …
SPOT=${SPOT:---spot}                      # empty: not preemptible, and more expensive
PYTHON=${PYTHON:-python3.11}              # on the hosts

at=(--project="$PROJECT" --zone="$ZONE")

# The same command on every host; arguments are quoted for the shell there.
everywhere() {
  gcloud compute tpus tpu-vm ssh "$NAME" "${at[@]}" --worker=all --command="$(printf '%q ' "$@")"
}

case ${1:-} in
  request)
    gcloud compute tpus queued-resources create "$NAME" "${at[@]}" --node-id="$NAME" \
      --accelerator-type="$TYPE" --runtime-version="$RUNTIME" ${SPOT:+"$SPOT"}
    ;;
  state)
    gcloud compute tpus queued-resources describe "$NAME" "${at[@]}" --format='value(state.state)'
    ;;
  setup)
    archive=$(mktemp --suffix=.tar.gz)
    trap 'rm -f "$archive"' EXIT
    git -C "$(dirname "$0")/.." archive --output="$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$NAME:davs_jax.tar.gz" "${at[@]}" --worker=all
    everywhere bash -c "set -e; mkdir -p davs_jax; tar -xzf davs_jax.tar.gz -C davs_jax; cd davs_jax
      $PYTHON -m venv .venv; .venv/bin/pip install -q --constraint constraints.txt --editable . 'jax[tpu]'"
    ;;
  train)
    config=${2:?second argument: a config file, such as configs/lrw_word.py}
    workdir=${3:?third argument: a folder that all hosts see, such as /mnt/davs/runs/NAME}
    shift 3
    # DAVS_JOB=tpu: on these machines only the metadata server knows the other hosts.
    everywhere bash -c 'cd davs_jax && DAVS_JOB=tpu exec .venv/bin/python -m davs_jax.main "$@"' davs \
      --config "$config" --workdir "$workdir" "$@"
    ;;
  delete)
    gcloud compute tpus queued-resources delete "$NAME" "${at[@]}" --force
    ;;
  *)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
    ;;
esac
