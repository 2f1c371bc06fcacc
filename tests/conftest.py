"""What the tests share: small real shards, and configurations that train on them."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from etils import epath

from configs import common
from davs_jax.data import records
from support import quick_compilation, talking_files
from support.bucket import served
from support.tiny_data import CLIPS, FACES, SPEAKERS, WORDS, clip_record, face_record, tiny, write_shards


def pytest_configure(config):
    """Tests, and the processes that they start, compile each step once, and not again in the next run; what a user's
    home folder would hold, a certificate, stays in the cache too."""
    given = os.environ.get("XLA_FLAGS", "")
    if not given.startswith(quick_compilation.FLAGS):  # a worker inherits them; what the environment gives wins
        os.environ["XLA_FLAGS"] = f"{quick_compilation.FLAGS} {given}".strip()
    if hasattr(config, "cache"):  # absent under `-p no:cacheprovider`
        os.environ["XDG_CONFIG_HOME"] = str(config.cache.mkdir("home"))
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("xla")))


@pytest.fixture(scope="module", autouse=True)
def programs_are_let_go():
    """What JAX has compiled for a module is of little use to the next, and all of it together takes gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture
def xla_cache(tmp_path):
    """A folder for JAX's cache that holds nothing yet, and keeps every program."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    from davs_jax.parallel import compilation

    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], str(tmp_path / "xla"))
    compilation.keep_compilations()
    compilation_cache.reset_cache()
    yield tmp_path / "xla"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory) -> str:
    """Clip shards: 4 words, 3 speakers, 64 px; 16 train, 5 val and 7 test clips."""
    numbers = iter(range(100))
    splits = {split: [clip_record(next(numbers)) for _ in range(count)] for split, count in CLIPS.items()}
    features = records.clip_features(WORDS, SPEAKERS)
    return write_shards(tmp_path_factory.mktemp("clips"), "clips", features, splits)


@pytest.fixture
def damaged_folder(clips_folder, tmp_path) -> str:
    """The clips with a damaged training shard: it opens, but some of its records cannot be read."""
    folder = Path(shutil.copytree(clips_folder, tmp_path / "damaged"))
    (shard,) = folder.glob("clips-train.*")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    shard.write_bytes(data)
    return str(folder)


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory) -> str:
    """Identity shards: 5 identities, 10 images, 64 px."""
    splits = {split: [face_record(i) for i in range(count)] for split, count in FACES.items()}
    features = records.face_features([f"p{i:03d}" for i in range(5)])
    return write_shards(tmp_path_factory.mktemp("faces"), "faces", features, splits)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """What `talking_files.write` makes."""
    return talking_files.write(tmp_path_factory.mktemp("a folder"))


@pytest.fixture
def bucket(monkeypatch):
    """A bucket for this process and those that it starts: content by `bucket/name`."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it would ask another server, by another protocol
    gcsfs = pytest.importorskip("gcsfs")
    with served() as (address, objects):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)  # for gcsfs
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", address)  # for ArrayRecord
        gcsfs.GCSFileSystem.clear_instance_cache()
        epath.backend.fsspec_backend._get_filesystem.cache_clear()
        yield objects


@pytest.fixture
def joint_config(clips_folder, faces_folder):
    return tiny(common.get_config("joint"), clips_folder, faces_folder)


@pytest.fixture
def word_config(clips_folder):
    """The stage whose step compiles in a fraction of the joint one's time."""
    return tiny(common.get_config("word"), clips_folder, "")


@pytest.fixture
def audio_config(word_config):
    """The same for audio alone, whose step compiles in a third of that, for tests that only need a run."""
    word_config.update(modalities=("audio",), trained=("audio_encoder", "word_classifier"))
    word_config.loss.update(contrastive=0.0, modality=0.0)
    return word_config
