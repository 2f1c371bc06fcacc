import pytest

from configs import common
from davs_jax.errors import ConfigError
from davs_jax.plan import compiling, machines, planner

SMALL, LARGE = machines.parse("v5e:4x4"), machines.parse("v5e:16x16")


@pytest.mark.parametrize(
    ("machine", "per_chip", "clips", "faces"),
    [(SMALL, None, 16, 16), (LARGE, None, 256, 256), (SMALL, 3, 48, 48)],
)
def test_the_batch_fills_all_chips(machine, per_chip, clips, faces):
    data = planner.sized(common.get_config("joint"), machine, per_chip).data
    assert (data.batch_size, data.face_batch_size) == (clips, faces)


def test_identity_images_keep_their_proportion():
    config = common.get_config("joint")
    config.data.update(batch_size=64, face_batch_size=16)
    data = planner.sized(config, SMALL, 8).data
    assert (data.batch_size, data.face_batch_size) == (128, 32)


def test_a_stage_without_clips_counts_identity_images():
    config = common.get_config("person")
    config.data.face_batch_size = 256
    assert planner.batch_setting(config) == "face_batch_size"
    assert planner.sized(config, SMALL, 4).data.face_batch_size == 64


@pytest.mark.parametrize(("stage", "modalities"), [("word", ("audio",)), ("syncnet", ("audio", "video"))])
def test_a_stage_that_reads_clips_without_their_frames_counts_clips(stage, modalities):
    config = common.get_config(stage)
    config.modalities = modalities
    if stage == "word":
        config.trained = ("audio_encoder", "word_classifier")
        config.loss.update(contrastive=0.0, modality=0.0)
    assert planner.batch_setting(config) == "batch_size"


def test_a_batch_read_in_parts_fills_every_part():
    config = common.get_config("word")
    config.accumulate = 4
    assert planner.sized(config, SMALL, 1).data.batch_size == 4 * 16


def test_an_invalid_config_is_refused():
    config = common.get_config("joint")
    config.data.face_batch_size = 0
    with pytest.raises(ConfigError, match=r"config\.data\.face_batch_size is 0"):
        planner.sized(config, SMALL, None)


def test_remarks_say_which_batch_was_planned():
    from test_roofline import compiled

    config = common.get_config("joint")
    fits, full = compiled(examples=256), compiled(examples=16, fits=False, peak=20 * machines.GIB)
    said = list(planner.remarks(config, [(LARGE, fits, None), (SMALL, full, None)]))
    assert "to train with it: --config.data.batch_size=256" in said[0]
    assert said[1] == "v5e:4x4: the step needs 20.00 GiB of each device, which is too much"


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ("RESOURCE_EXHAUSTED: … Used 20.50G of 15.75G hbm. Exceeded", (20.5, 15.75)),
        ("RESOURCE_EXHAUSTED: … HLO temporaries (18.43G) exceeds available HBM (15.75G).", (18.43, 15.75)),
    ],
)
def test_a_compilers_lack_of_memory_is_read_in_bytes(refusal, expected):
    assert compiling.out_of_memory(refusal) == tuple(int(x * 2**30) for x in expected)
    assert compiling.out_of_memory("INTERNAL: something else") is None
