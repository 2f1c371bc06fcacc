import pytest

from davs_jax import constants
from davs_jax.data.sources import ClipSource, open_clips
from davs_jax.errors import DataError


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
