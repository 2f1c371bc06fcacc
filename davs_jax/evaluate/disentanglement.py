"""Probes on a trained model's vectors, for what they should not contain: words in pid, persons in wid."""

from collections.abc import Sequence

import numpy as np

from davs_jax.data.examples import View
from davs_jax.data.sources import FaceSource
from davs_jax.errors import NotMeasurable
from davs_jax.evaluate.probes import FOLDS, both_probes
from davs_jax.evaluate.recognition import Vectors
from davs_jax.evaluate.sections import Probes
from davs_jax.inference import Davs

FACES = 5000  # identity images read for a probe


def mean(vectors: np.ndarray) -> np.ndarray:
    """`[N, T, E]` → the mean over the frames, `[N, E]`."""
    return vectors.mean(1)


def frames(vectors: np.ndarray) -> np.ndarray:
    """`[N, T, E]` → all frames, `[N, T·E]`."""
    return vectors.reshape(len(vectors), -1)


def moments(vectors: np.ndarray) -> np.ndarray:
    """`[N, T, E]` → how far each feature moves about its mean, absolute and squared: `[N, 2·E]`."""
    moved = vectors - vectors.mean(1, keepdims=True)
    return np.concatenate([np.abs(moved).mean(1), moved.std(1)], 1)


def probes(vectors: Vectors, seed: int, only: Sequence[str] = ()) -> tuple[dict[str, Probes], dict[str, str]]:
    """Probes for words and for people on each representation.

    Words are read from the concatenated vectors of the 12 frames, by folds of people. People are read by folds of
    words: from the mean over the frames, and from wid also from the concatenated frames (`…_frames`) and from how far
    each feature moves (`…_moments`), since a mean of nothing, as normalised word vectors have, hides nothing else.

    Args:
      only: the names of the probes to fit; all by default.

    Returns:
      probes by `what_from_where`, and the reasons why others could not be computed.
    """
    wid = {"audio_wid": vectors.audio, "video_wid": vectors.video}
    pid = {"pid": vectors.pid, "maps": vectors.maps}
    views = {"": mean, "_frames": frames, "_moments": moments}
    tasks = {f"word_from_{name}": (v, frames, vectors.word, vectors.people) for name, v in (wid | pid).items()}
    for name, value in wid.items():
        tasks |= {f"person_from_{name}{v}": (value, view, vectors.speaker, vectors.word) for v, view in views.items()}
    tasks["person_from_pid"] = (vectors.pid, mean, vectors.speaker, vectors.word)  # pid carries the person, and must
    figures, skipped = {}, {}
    for name in only or tasks:
        value, view, labels, held_out = tasks[name]
        if value is None:
            encoder = {"audio": "audio", "video": "visual"}.get(name.split("_from_")[1].split("_")[0], "person")
            skipped[name] = f"the weights have no {encoder} encoder"
        elif (labels < 0).any():
            skipped[name] = f"the {name.split('_')[0]} of some clips is not known"
        else:
            try:
                figures[name] = both_probes(view(value), labels, held_out, vectors.people, seed)
            except NotMeasurable as reason:
                skipped[name] = str(reason)
    return figures, skipped


def face_probes(model: Davs, faces: FaceSource, seed: int) -> tuple[dict[str, Probes], dict[str, str]]:
    """Probes for people on identity images, which hold no speech; folds are over images.

    At most FACES images are read; identities with fewer than FOLDS of them are left out.

    Returns:
      probes by `person_from_where`, and the reasons why others could not be computed.

    Raises:
      DataError: a damaged record.
    """
    view = View.central(faces.image_size)
    stored = [faces.record(i) for i in range(min(len(faces), FACES))]
    labels = np.array([record["identity"] for record in stored])
    usable = [i for i in np.flatnonzero(labels >= 0) if (labels == labels[i]).sum() >= FOLDS]
    if not usable:
        reason = f"no identity has {FOLDS} of the first {len(stored)} images; give a small set, such as LFW's largest"
        return {}, {"face_probes": reason}
    images = np.stack([view(stored[i]["image"], f"{faces.folder}: image {i}") for i in usable])
    vectors = {}
    if model.has("person_encoder"):
        vectors["pid"] = model.pid_from_frames(images)[0]
    if model.has("visual_encoder"):
        vectors["video_wid"] = model.raw_wid_from_video(images)  # single images: there is no clip to normalise over
    figures, skipped = {}, {}
    for name, value in vectors.items():
        try:
            figures[f"person_from_{name}"] = both_probes(value, labels[usable], seed=seed)
        except NotMeasurable as reason:
            skipped[f"face_probes, {name}"] = str(reason)
    return figures, skipped
