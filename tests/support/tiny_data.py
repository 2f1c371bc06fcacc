"""Small real shards, and the smallest configuration that trains on them."""

import math

import cv2
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from ml_collections import ConfigDict

from davs_jax import constants
from davs_jax.data import records
from davs_jax.face_geometry import stored_size

WORDS = ("ABOUT", "HOUSE", "MONEY", "PEOPLE")
SPEAKERS = ("p000", "p001", "p002")
IMAGE_SIZE = 64
CLIPS = {"train": 16, "val": 5, "test": 7}
FACES = {"train": 10}


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def face(rng: np.random.Generator, person: int, opening: float) -> np.ndarray:
    """A face as plain as can be, uint8 RGB [65, 65, 3]: a person's colour, and a mouth that opens."""
    size = stored_size(IMAGE_SIZE)
    image = np.full((size, size, 3), (40 + 20 * person, 90, 200 - 15 * person), np.uint8)
    cv2.ellipse(image, (size // 2, size // 2), (size // 3, size // 2 - 4), 0, 0, 360, (220, 180, 150), -1)
    cv2.ellipse(image, (size // 2, 3 * size // 4), (9, round(1 + 7 * opening)), 0, 0, 360, (120, 20, 30), -1)
    return np.clip(image + rng.integers(-6, 7, image.shape), 0, 255).astype(np.uint8)


def clip_record(seed: int) -> dict:
    """One clip: the pace of the mouth and the tone of the audio determine the word."""
    rng = np.random.default_rng(seed)
    word, person, frames = seed % len(WORDS), seed % len(SPEAKERS), constants.CLIP_FRAMES
    opening = 0.5 + 0.5 * np.sin(np.arange(frames) * (word + 1) / 3 + rng.random())
    time = np.arange(frames * constants.SAMPLES_PER_FRAME) / constants.SAMPLE_RATE
    mfcc = rng.normal(size=(4 * frames + 16, constants.MFCC_WIDTH)) + 3 * (np.arange(12) == word)
    return {
        "clip_id": f"{WORDS[word]}_{seed:05d}",
        "word": word,
        "speaker": person,
        "frames": [jpeg(face(rng, person, o)) for o in opening],
        "audio": (8000 * np.sin(2 * math.pi * 200 * (word + 1) * time)).astype(np.int16),
        "mfcc": mfcc.astype(np.float32),
        # every third clip's opening is unknown, as with recordings
        "mouth_opening": opening.astype(np.float32) if seed % 3 else np.zeros(0, np.float32),
        "measures": "{}",
    }


def records_of():
    """The features of `clip_record`."""
    return records.clip_features(WORDS, SPEAKERS)


def face_record(seed: int) -> dict:
    rng, person = np.random.default_rng(seed), seed % 5
    return {"face_id": f"{seed:05d}", "image": jpeg(face(rng, person, rng.random())), "identity": person}


def write_shards(folder, name: str, features, splits: dict[str, list[dict]]) -> str:
    """A TFDS folder of one ArrayRecord shard per split."""
    infos = []
    for split, examples in splits.items():
        path = folder / f"{name}-{split}.array_record-00000-of-00001"
        encoded = [features.serialize_example(features.encode_example(example)) for example in examples]
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for data in encoded:
            writer.write(data)
        writer.close()
        infos.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=[len(encoded)], num_bytes=sum(map(len, encoded)), filename_template=None
            )
        )
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=name,
        filetype_suffix="array_record",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    )
    tfds.folder_dataset.write_metadata(
        data_dir=str(folder), features=features, split_infos=infos, filename_template=template, check_data=False
    )
    return str(folder)


def tiny(config: ConfigDict, clips: str, faces: str) -> ConfigDict:
    """A stage on these shards, as small as the topology goes."""
    config.steps = 6
    config.model.update(image_size=IMAGE_SIZE, width=1 / 16, num_words=len(WORDS), num_identities=5)
    config.model.sync_size = 48
    config.data.update(clips=clips, faces=faces, batch_size=4, face_batch_size=2, threads=2)
    config.log.update(every=1, images_every=0, eval_every=0)
    config.checkpoint.every = 3
    return config
