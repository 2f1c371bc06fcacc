import pytest

from davs_jax import constants
from davs_jax.data import records
from davs_jax.data.sources import ClipSource, has_split, open_clips
from davs_jax.errors import DataError
from support.tiny_data import CLIPS, SPEAKERS, WORDS, clip_record, write_shards


@pytest.mark.parametrize(
    ("folder", "split", "says"),
    [
        ("", "train", "config.data.clips is empty; set --config.data.clips=FOLDER"),
        ("no/such/folder", "train", r"no/such/folder holds no finished shards .*data_prep\.lrw"),
        (None, "dev", r"no split 'dev'; it has \['test', 'train', 'val'\]"),
    ],
)
def test_a_folder_without_clips_is_named_with_the_remedy(clips_folder, folder, split, says):
    with pytest.raises(DataError, match=says):
        open_clips(clips_folder if folder is None else folder, split)


def test_faces_given_as_clips_are_refused(faces_folder):
    with pytest.raises(DataError, match="holds other records"):
        open_clips(faces_folder, "train")


def test_a_short_clip_is_refused(clips_folder):
    source = open_clips(clips_folder, "val")
    short = [record | {"frames": record["frames"][:20]} for record in (source.record(0),)]
    broken = ClipSource("folder", "val", short, source.words, source.speakers, 64)
    with pytest.raises(
        DataError, match=rf"has 20 frames and 132 MFCC columns, expected {constants.CLIP_FRAMES} and 132"
    ):
        broken.record(0)


@pytest.fixture
def other_folder(tmp_path) -> str:
    """Clips of other people, who say one of the words of `clips_folder` and a new one; the last has no word."""
    clips = [clip_record(seed) | {"word": word} for seed, word in ((50, 0), (51, 1), (52, -1))]
    features = records.clip_features(["new", WORDS[1]], SPEAKERS)
    return write_shards(tmp_path, "clips", features, {"train": clips})


def test_joined_folders_are_one_corpus(clips_folder, other_folder):
    source = open_clips(f"{clips_folder}, {other_folder}", "train")
    assert len(source) == CLIPS["train"] + 3
    assert source.words == (*WORDS, "new")
    last = [source.record(i) for i in range(CLIPS["train"] - 1, len(source))]
    assert [record["word"] for record in last] == [(CLIPS["train"] - 1) % len(WORDS), len(WORDS), 1, -1]
    own = [seed % len(SPEAKERS) for seed in (CLIPS["train"] - 1, 50, 51, 52)]
    assert [record["speaker"] for record in last] == [own[0], *(len(SPEAKERS) + speaker for speaker in own[1:])]
    assert not has_split(source.folder, "val")


def test_labels_follow_a_given_vocabulary(clips_folder):
    own = open_clips(clips_folder, "val")
    renamed = open_clips(clips_folder, "val", ("first", *reversed(WORDS)))
    for i in range(len(own)):
        assert renamed.words[renamed.record(i)["word"]] == own.words[own.record(i)["word"]]
    with pytest.raises(DataError, match=f"has {len(WORDS) - 1} words, such as {WORDS[1]!r}, that are not among the 1"):
        open_clips(clips_folder, "val", WORDS[:1])


def test_a_damaged_shard_of_a_joined_corpus_is_named(damaged_folder, other_folder):
    source = open_clips(f"{other_folder},{damaged_folder}", "train")
    with pytest.raises(DataError, match=f"^{damaged_folder}: record .* cannot be read"):
        for i in range(len(source)):
            source.record(i)
