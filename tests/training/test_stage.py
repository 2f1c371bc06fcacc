"""A stage as its config describes it, and every config that is refused."""

import dataclasses

import pytest
from ml_collections import ConfigDict

from davs_jax.errors import ConfigError
from davs_jax.training import losses
from davs_jax.training.stage import Stage
from support.steps import judged, tiny


@pytest.mark.parametrize(
    ("stage", "keys"),
    [
        ("person", {"faces", "face_id"}),
        ("word", {"frames", "speech", "word"}),
        ("generator", {"frames", "speech", "generate_start", "identity_frame"}),
        ("joint", {"frames", "speech", "word", "generate_start", "identity_frame", "faces", "face_id"}),
        ("syncnet", {"sync_frames", "sync_mfcc"}),
    ],
)
def test_a_stage_reads_only_what_its_terms_need(stage, keys):
    resolved = Stage.from_config(tiny(stage))
    assert set(resolved.batch) == keys
    assert resolved.reads_clips == (stage != "person")
    assert resolved.examples == 8


def test_the_expert_reads_one_window_of_the_audio_and_all_that_it_is_told_apart_from():
    stage = Stage.from_config(judged(tiny("generator")))
    assert stage.batch["expert_speech"].shape == (8, 5, 20, 12)
    assert stage.batch["sync_mfcc"].shape == (8, 24, 20, 13)
    assert "sync_frames" not in stage.batch


def test_an_expert_without_training_or_in_training_is_refused():
    config = judged(tiny("generator"))
    config.trained = (*config.trained, "syncnet")
    config.loss.sync = 1.0
    with pytest.raises(ConfigError, match=r"names the expert of .*, syncnet; leave it out"):
        Stage.from_config(config)
    config.init_networks = ()
    with pytest.raises(ConfigError, match="sync_expert is above 0 without a trained SyncNet; add its run"):
        Stage.from_config(config)


def test_the_warp_loss_needs_a_flow_head():
    config = tiny("generator")
    config.loss.warp = 1.0
    with pytest.raises(ConfigError, match=r"config\.loss\.warp is above 0, but config\.model\.flow is off; set flow"):
        Stage.from_config(config)
    config.model.update(flow=True, blend=True)
    assert "warp" in Stage.from_config(config).terms


def test_the_published_adversary_reads_twenty_frames_of_its_own():
    config = tiny()
    config.model.adversary_frames = 20
    assert Stage.from_config(config).batch["adversary_frames"].shape == (8, 20, 64, 64, 3)


@pytest.mark.parametrize(
    ("modality", "encoder", "other", "keys"),
    [
        ("audio", "audio_encoder", "visual_encoder", {"speech", "word"}),
        ("video", "visual_encoder", "audio_encoder", {"frames", "word"}),
    ],
)
def test_a_stage_of_one_modality_has_neither_the_encoder_nor_the_input_of_the_other(modality, encoder, other, keys):
    config = tiny("word")
    config.loss.update(contrastive=0.0, modality=0.0)
    config.modalities, config.trained = (modality,), (encoder, "word_classifier")
    stage = Stage.from_config(config)
    assert set(stage.batch) == keys
    assert set(stage.networks) == {encoder, "word_classifier"}
    assert stage.weights == {("word_ce", modality): 1.0}
    config.trained = (encoder, other, "word_classifier")
    with pytest.raises(ConfigError, match=rf"\['{other}'\], but no term"):
        Stage.from_config(config)


def test_every_network_has_one_role():
    stage = Stage.from_config(tiny("generator"))
    assert stage.trained == ("person_encoder", "decoder")
    assert set(stage.frozen) == {"visual_encoder", "audio_encoder"}
    assert Stage.from_config(tiny()).adversaries == (
        *("modality_discriminator", "word_adversary", "person_adversary"),
        "sequence_discriminator",
    )
    assert [stage.role(name) for name in ("decoder", "audio_encoder")] == ["trained", "frozen"]


def test_terms_have_the_weight_of_their_config_and_uniformity_terms_multiply_the_rule():
    config = tiny()
    config.loss.update(mouth_l2=0.5, pid_uniform=2.0)
    weights = Stage.from_config(config).weights
    assert weights["mouth", "audio"] == weights["mouth", "video"] == 8.0  # not that of mouth_l2
    assert weights["mouth_l2", "audio"] == 0.5
    assert weights["gan_sequence", "match"] == 1.0
    assert weights["pid_uniform", ""] == 2 * losses.uniformity_weight(3)
    assert weights["wid_uniform", ""] == losses.uniformity_weight(4)
    assert not [term for term, _ in weights if term == "gan_frame"]


def test_a_stage_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Stage.from_config(tiny("word")).accumulate = 2


REFUSED = [
    ({"steps": 0}, "config.steps is 0; it must be at least 1"),
    ({"accumulate": 0}, "config.accumulate is 0; it must be at least 1"),
    ({"data.threads": 0}, "config.data.threads is 0; it must be at least 1"),
    ({"label_softness": 1.5}, "config.label_softness is 1.5; it must be from 0 to 1"),
    ({"model.dropout": 1.0}, "config.model.dropout is 1.0; it must be at least 0 and below 1"),
    ({"model.word_frames": 13}, "config.model.word_frames is 13; a clip allows 1…12"),
    ({"model.sequence_frames": 0}, "config.model.sequence_frames is 0; a clip allows 1…12"),
    ({"model.adversary_frames": 26}, "config.model.adversary_frames is 26; a clip allows 1…25"),
    ({"log.eval_batches": -1}, "config.log.eval_batches is -1; it must be at least 0"),
    ({"model.width": 0.0}, "config.model.width is 0.0; it must be above 0"),
    ({"model.width": float("nan")}, "config.model.width is nan"),
    ({"model.dtype": "float8"}, "config.model.dtype is 'float8'; it must be one of float32, bfloat16"),
    ({"model.image_size": 100}, "config.model.image_size is 100; it must be one of (64, 128, 256, 512)"),
    ({"model.skips": (3,)}, "config.model.skips names strides [3]; the maps have 2, 4, 8, 16, 32"),
    ({"model.num_words": 1}, "config.model.num_words is 1, but config.loss.pid_uniform needs at least 2 classes"),
    ({"optim.schedule": "linear"}, "config.optim.schedule is 'linear'; it must be one of constant, cosine"),
    ({"optim.ema_decay": 1.0}, "config.optim.ema_decay is 1.0; it must be at least 0 and below 1"),
    ({"mesh.data": 0}, "config.mesh.data is 0; it must be at least 1, or -1"),
    ({"mesh.fsdp": -1}, "config.mesh.data and config.mesh.fsdp are both -1"),
    ({"remat.decoder": "half"}, "config.remat.decoder is 'half'; it must be one of none, activations, all"),
    ({"bn_grouping": "frames"}, "config.bn_grouping is 'frames'; it must be one of batch, official"),
    ({"contrastive": "chunk"}, "config.contrastive is 'chunk'; it must be one of clip, chunks, frames"),
    ({"checkpoint.best": "accuracy"}, "config.checkpoint.best is 'accuracy'; it must be one of audio_accuracy"),
    ({"loss.l1": -1.0}, "config.loss.l1 is -1.0; a weight is 0 (off) or above"),
    ({"trained": ("person_classifier", "decoder")}, "config.trained names ['person_classifier'], but no term"),
    ({"trained": ("word_adversary",)}, "names ['word_adversary'], which are not networks of the generator player"),
    ({"modalities": ()}, "config.modalities is (); it holds 'audio', 'video' or both"),
    ({"modalities": ("audio", "smell")}, "config.modalities is ('audio', 'smell')"),
    (
        {"modalities": ("audio",)},
        "config.loss.contrastive is above 0 but needs ['video'], which",
    ),
    ({"data.face_batch_size": 0}, "config.data.face_batch_size is 0, but ['wid_uniform'] need identity images"),
]


@pytest.mark.parametrize(("values", "says"), REFUSED, ids=[str(values) for values, _ in REFUSED])
def test_an_invalid_value_is_refused_with_its_key_and_what_is_allowed(values, says):
    config = ConfigDict(tiny().to_dict(), type_safe=False)
    for key, value in values.items():
        *groups, name = key.split(".")
        group = config
        for part in groups:
            group = group[part]
        group[name] = ConfigDict(value) if isinstance(value, dict) else value
    with pytest.raises(ConfigError) as refused:
        Stage.from_config(config)
    assert says in str(refused.value)


def test_a_config_that_trains_nothing_is_refused():
    config = tiny()
    config.loss.update(dict.fromkeys(config.loss, 0.0))
    with pytest.raises(ConfigError, match="nothing to train; set at least one above 0"):
        Stage.from_config(config)


def test_a_config_without_a_setting_is_told_which():
    settings = tiny("word").to_dict()
    del settings["accumulate"]
    with pytest.raises(ConfigError, match="the config has no accumulate; configs/common"):
        Stage.from_config(ConfigDict(settings))
