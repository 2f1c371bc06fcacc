"""Names of the official networks and layers, and ours."""

from collections.abc import Iterator

# Official network → ours.
NETWORKS = {
    "ID_encoder": "person_encoder",
    "lip_feature_encoder": "visual_encoder",
    "mfcc_encoder": "audio_encoder",
    "Decoder": "decoder",
    "model_fusion": "word_classifier",
    "ID_lip_discriminator": "word_adversary",
    "discriminator_audio": "modality_discriminator",
    "netD_mul": "sequence_discriminator",
    "netD": "frame_discriminator",
}
# Our parameter or statistic → the official one.
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
# Layers that the official networks define but never run; a state dict may hold them.
UNUSED = {
    "lip_feature_encoder": ("model.conv5", "model.conv6", "model.fc"),
    "mfcc_encoder": ("model1.bn5",),
    "model_fusion": ("dis",),
    "netD_mul": ("conv8", "bn7", "bn8", "bn9"),
    "netD": ("conv8", "bn7", "bn8", "bn9"),
}


def _person_layers() -> Iterator[tuple[str, str]]:
    for block in (1, 11, 12, 13, 14, *range(21, 27), 31, 32, 33, 34, 41, 42):
        for branch in "ab":
            official = f"block{block}.conv{block:02d}_{branch}"
            yield f"block{block}/conv_{branch}", official
            yield f"block{block}/norm_{branch}", f"{official}_bn"


def _visual_layers() -> Iterator[tuple[str, str]]:
    blocks = {
        "block1": "conv2",
        "block2": "conv3",
        "block3": "conv4",
        "top": "top_m_0",
        "hourglass/bottom_1": "m0.b2_plus_1",
    }
    for level in (1, 2, 3, 4):
        for ours, official in (("upper", "b1"), ("down", "b2"), ("up", "b3")):
            blocks[f"hourglass/{ours}_{level}"] = f"m0.{official}_{level}"
    for ours, official in blocks.items():
        for i in (1, 2, 3):
            yield f"{ours}/conv{i}", f"model.{official}.conv{i}"
            yield f"{ours}/norm{i}", f"model.{official}.bn{i}"
        yield f"{ours}/shortcut_norm", f"model.{official}.downsample.0"  # only where the widths differ
        yield f"{ours}/shortcut", f"model.{official}.downsample.2"
    yield from {
        "stem": "model.conv1",
        "stem_norm": "model.bn1",
        "last": "model.conv_last0",
        "last_norm": "model.bn_end0",
        "landmarks": "model.l0",
        "landmarks_norm": "bn1",
        "squeeze": "conv6",
        "wid": "fc",
    }.items()


def _audio_layers() -> Iterator[tuple[str, str]]:
    for branch, official, layers in (("grid", "model1", 4), ("time", "model2", 3)):
        for i in range(1, layers + 1):
            yield f"{branch}{i}", f"{official}.conv{i}"
            yield f"{branch}{i}_norm", f"{official}.bn{i}"  # none after the last
    yield "wid", "fc"


def _decoder_layers() -> Iterator[tuple[str, str]]:
    yield from (("start", "deconv1_1_new"), ("start_norm", "deconv1_1_bn"))
    for block, convolutions in enumerate((2, 3, 4, 4, 3, 2), start=1):
        for i in range(convolutions):
            yield f"block{block}_{i}", f"convblock{block}.conv{block}_{i}"
            yield f"block{block}_{i}_norm", f"convblock{block}.conv{block}_{i}_bn"
    yield from (("last", "conv7_1"), ("last_norm", "conv7_1_bn"), ("image", "conv7_2"))


def _discriminator_layers() -> Iterator[tuple[str, str]]:
    yield from (("conv1", "conv1"), ("patch", "conv4"), ("mouth2", "conv9"), ("hidden", "fc"), ("match", "fc2"))
    normed = {"conv2": ("conv2_1", "norm_1"), "conv3": ("conv2_2", "norm_2"), "conv4": ("conv3", "norm3")}
    normed |= {"mouth1": ("conv6", "bn6")} | {f"sound{i}": (f"mfcc_conv{i}", f"mfcc_bn{i}") for i in (1, 2, 3, 4)}
    for ours, (conv, norm) in normed.items():
        yield from ((ours, conv), (f"{ours}_norm", norm))


# Our network → our layer → the official one.
LAYERS = {
    "person_encoder": dict(_person_layers()),
    "visual_encoder": dict(_visual_layers()),
    "audio_encoder": dict(_audio_layers()),
    "decoder": dict(_decoder_layers()),
    "word_classifier": {"hidden": "fc_1", "logits": "fc_2"},
    "word_adversary": {"squeeze": "conv6", "frame": "fc", "logits": "fc_2"},
    "modality_discriminator": {"hidden": "fc1", "logit": "fc2"},
    "sequence_discriminator": dict(_discriminator_layers()),
    "frame_discriminator": dict(_discriminator_layers()),
}
