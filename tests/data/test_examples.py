import numpy as np
import pytest

from davs_jax.data.examples import View, clip_example
from davs_jax.data.sources import open_clips
from davs_jax.errors import DataError
from davs_jax.media.audio import WINDOWS, stream_windows, syncnet_features

CLIP_KEYS = ("frames", "speech", "word", "generate_start", "identity_frame", "adversary_frames")


@pytest.fixture
def plain_config(joint_config):
    """Only the windows are random."""
    joint_config.data.update(flip=False, crop=False)
    return joint_config


def example(config, record, seed=0, keys=CLIP_KEYS):
    return clip_example(record, np.random.default_rng(seed), config, keys)


def frame_numbers(images, record):
    """Which frames of a record these central crops are."""
    view = View.central(64)
    known = {view(jpeg, "").tobytes(): t for t, jpeg in enumerate(record["frames"])}
    return [known[image.tobytes()] for image in images]


@pytest.mark.parametrize("seed", range(8))
def test_windows_are_those_of_the_published_sampling(plain_config, seed):
    record = open_clips(plain_config.data.clips, "train").record(3)
    made = example(plain_config, record, seed)
    frames = frame_numbers(made["frames"], record)
    assert frames == list(range(frames[0], frames[0] + 24, 2)) and frames[0] in (2, 3)
    for frame, window in zip(frames, made["speech"], strict=True):
        np.testing.assert_array_equal(window, record["mfcc"][4 * frame : 4 * frame + 20])
    adversary = frame_numbers(made["adversary_frames"], record)
    assert adversary == list(range(adversary[0], adversary[0] + 20)) and 2 <= adversary[0] <= 6
    assert 0 <= made["generate_start"] <= 6
    assert len(frame_numbers([made["identity_frame"]], record)) == 1


def test_another_spectrum_is_made_of_the_records_audio_at_the_same_frames(plain_config):
    record, keys = open_clips(plain_config.data.clips, "train").record(3), (*CLIP_KEYS, "expert_start", "expert_speech")
    published = example(plain_config, record, keys=keys)
    plain_config.model.spectrum = "log_mel"
    made = example(plain_config, record, keys=keys)
    assert all(np.array_equal(made[key], published[key]) for key in made.keys() - {"speech", "expert_speech"})
    whole = np.concatenate(list(stream_windows([record["audio"][: 29 * 640]], window=WINDOWS["log_mel"])))
    np.testing.assert_array_equal(made["speech"], whole[frame_numbers(made["frames"], record)])
    np.testing.assert_array_equal(made["expert_speech"], whole[made["expert_start"] :][:5])


def test_a_record_without_audio_cannot_give_another_spectrum(plain_config):
    record = open_clips(plain_config.data.clips, "train").record(3)
    plain_config.model.spectrum = "log_mel"
    with pytest.raises(DataError, match="has 100 samples of audio, and this system reads 18,560"):
        example(plain_config, record | {"audio": record["audio"][:100]})


@pytest.mark.parametrize("within", [1, 3])
def test_a_photo_from_nearby_is_at_most_so_many_frames_from_the_generated_ones(plain_config, within):
    record = open_clips(plain_config.data.clips, "train").record(3)
    distances = []
    for seed in range(12):
        plain_config.data.photo_within = 0
        anywhere = example(plain_config, record, seed)
        plain_config.data.photo_within = within
        made = example(plain_config, record, seed)
        assert all(np.array_equal(made[key], anywhere[key]) for key in CLIP_KEYS if key != "identity_frame")
        start, length = made["generate_start"], plain_config.model.sequence_frames
        generated = frame_numbers(made["frames"][start : start + length], record)
        (photo,) = frame_numbers([made["identity_frame"]], record)
        distances.append(max(generated[0] - photo, photo - generated[-1], 0))
    assert max(distances) == within and min(distances) == 0


def test_only_the_frames_that_are_asked_for_are_decoded(plain_config):
    record = open_clips(plain_config.data.clips, "train").record(0)
    whole = example(plain_config, record, seed=1)
    (identity,) = frame_numbers([whole["identity_frame"]], record)
    damaged = [jpeg if t == identity else b"damaged" for t, jpeg in enumerate(record["frames"])]
    only = example(plain_config, record | {"frames": damaged}, seed=1, keys=("identity_frame",))
    np.testing.assert_array_equal(only["identity_frame"], whole["identity_frame"])


def test_a_clip_is_flipped_as_a_whole_or_not_at_all(plain_config):
    record = open_clips(plain_config.data.clips, "train").record(0)
    flipped = []
    for seed in range(8):
        plain_config.data.flip = False
        plain = example(plain_config, record, seed)
        plain_config.data.flip = True
        made = example(plain_config, record, seed)
        mirrored = np.array_equal(made["frames"], plain["frames"][:, :, ::-1])
        assert mirrored or np.array_equal(made["frames"], plain["frames"])
        assert np.array_equal(made["identity_frame"], plain["identity_frame"][:, ::-1]) == mirrored
        flipped.append(mirrored)
    assert 0 < sum(flipped) < 8


def test_crops_move_over_the_whole_margin(joint_config):
    views = [View.random(np.random.default_rng(i), 256, joint_config.data) for i in range(60)]
    assert {view.top for view in views} == {view.left for view in views} == set(range(5))
    assert (View.central(256).top, View.central(64).top) == (2, 0)


def test_colour_jitter_is_one_change_per_clip_within_its_bound(plain_config):
    record = open_clips(plain_config.data.clips, "train").record(0)
    plain = example(plain_config, record)["frames"]
    plain_config.data.color_jitter = 0.1
    made = example(plain_config, record)["frames"]
    assert not np.array_equal(made, plain)
    assert np.abs(made.astype(int) - plain).max() < 255 * 0.35  # three factors of at most 1 ± 0.1
    for channel in range(3):
        before, after = plain[..., channel].ravel(), made[..., channel].ravel()
        assert all(len(set(after[before == level])) == 1 for level in np.unique(before))


def test_syncnet_gets_every_window_of_a_clip_and_its_audio(plain_config):
    record = open_clips(plain_config.data.clips, "train").record(3)
    example = clip_example(record, np.random.default_rng(0), plain_config, ("sync_frames", "sync_mfcc"))
    columns = syncnet_features.mfcc(record["audio"]).astype(np.float32)
    view = View.central(plain_config.model.image_size)
    np.testing.assert_array_equal(example["sync_frames"], [view(jpeg, "") for jpeg in record["frames"][:28]])
    np.testing.assert_array_equal(example["sync_mfcc"], [columns[4 * at : 4 * at + 20] for at in range(24)])


def test_a_damaged_image_is_named(plain_config):
    record = open_clips(plain_config.data.clips, "train").record(5)
    with pytest.raises(DataError, match="clip HOUSE_00005, frame 2, is not a readable JPEG"):
        example(plain_config, record | {"frames": [b"damaged"] * 29}, keys=("adversary_frames", "frames"), seed=9)


def test_a_clip_without_a_word_is_an_example_whose_word_is_unknown(plain_config):
    record = open_clips(plain_config.data.clips, "train").record(5) | {"word": -1}
    assert example(plain_config, record, keys=("frames", "word"))["word"] == -1
