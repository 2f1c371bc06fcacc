"""Descriptions of NVIDIA GPUs, from their vendor's figures, with which XLA compiles without a GPU."""

from jax.experimental import topologies

# Compiler options: without a GPU, XLA cannot measure which kernel is the fastest.
OPTIONS = {"xla_gpu_autotune_level": "0"}

_TARGET = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth:.0f}
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: {memory}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  cuda_compute_capability {{ major: 9 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
device_description_str: "NVIDIA {name}"
"""


def devices(name: str, memory: int, bandwidth: float, count: int) -> list:
    """GPUs of the Hopper generation in one host.

    Args:
      memory, bandwidth: bytes, and bytes per second.
    """
    target = _TARGET.format(name=name.upper(), memory=memory, bandwidth=bandwidth)
    described = topologies.get_topology_desc(platform="cuda", target_config=target, topology=f"1x1x{count}")
    return described.devices
