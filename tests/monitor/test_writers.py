import sys

import numpy as np
import pytest
from etils import epath

from davs_jax.monitor.writers import WeightsAndBiases, WriterError


def test_weights_and_biases_gets_scalars_and_images_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    writer = WeightsAndBiases(epath.Path(tmp_path), "davs")
    writer.scalars(1, {"loss/total": 2.0})
    writer.image(1, "generated", np.zeros((4, 4, 3), np.uint8))
    writer.close()
    wandb.teardown()  # as at the end of a process: only then is its file complete
    (stored,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"loss/total" in stored.read_bytes()


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(
        WriterError, match=r"config\.log\.wandb=davs needs the extra `wandb`; pip install 'davs_jax\[wandb\]'"
    ):
        WeightsAndBiases(epath.Path(tmp_path), "davs")
