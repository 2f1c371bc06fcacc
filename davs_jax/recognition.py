"""What the vectors of a trained model say: words, matching clips, and what they should keep to themselves."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from davs_jax import metrics
from davs_jax.data import FIRST_FRAME, View
from davs_jax.inference import Davs
from davs_jax.probes import FOLDS, probe
from davs_jax.sources import FaceSource

FACES = 5000  # identity images read for a probe


@dataclass(frozen=True)
class Vectors:
    """The vectors of N clips at their word frames, and what is known of the clips; the last two only where asked."""

    index: np.ndarray  # [N], position in the source
    word: np.ndarray  # [N], −1 where unknown
    speaker: np.ndarray  # [N], −1 where unknown
    mouth_opening: np.ndarray  # [N, 29], NaN where unknown
    audio: np.ndarray  # wid [N, 12, E]
    video: np.ndarray  # wid [N, 12, E]
    pid: np.ndarray | None = None  # [N, 12, E]
    maps: np.ndarray | None = None  # the word adversary's map, pooled, [N, 12, 16·C]

    @property
    def people(self) -> np.ndarray | None:
        """The speakers, whom intervals resample and folds hold out; None where some are unknown or they are few."""
        known = (self.speaker >= 0).all() and len(np.unique(self.speaker)) >= FOLDS
        return self.speaker if known else None


def word_frames(model: Davs) -> np.ndarray:
    """The clip's frames that the word classifier reads: 2, 4, … 24 (start 0 of the official evaluation)."""
    return FIRST_FRAME + 2 * np.arange(model.config.model.word_frames)


def clips(batches: Iterable[dict]) -> Iterator[dict]:
    """The clips of `data.eval_batches`, one by one, without the padding."""
    for batch in batches:
        for i in np.flatnonzero(batch["mask"]):
            yield {key: value[i] for key, value in batch.items()}


def encode(model: Davs, batches: Iterable[dict], persons: bool = False) -> Vectors:
    """Runs the encoders over `data.eval_batches`.

    Args:
      persons: also encode the word frames in the person space.
    """
    frames, parts = word_frames(model), []
    for batch in batches:
        keep = batch["mask"]
        pictures, windows = (np.concatenate(batch[key][keep][:, frames]) for key in ("frames", "mfcc"))
        vectors = [model.wid_from_audio(windows), model.wid_from_video(pictures)]
        vectors += model.pid_from_frames(pictures) if persons else ()
        labels = [batch[key][keep] for key in ("index", "word", "speaker", "mouth_opening")]
        parts.append([*labels, *(v.reshape(int(keep.sum()), len(frames), -1) for v in vectors)])
    return Vectors(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def recognise(model: Davs, batches: Iterable[dict]) -> dict[str, float]:
    """The figures of a validation: `{audio,video,both}_accuracy` and R@1 of retrieval in both directions.

    Args:
      batches: of `data.eval_batches`; padding is left out, so every clip counts once.

    Returns:
      a flat dictionary. Accuracies are left out where the weights have no word classifier.
    """
    vectors = encode(model, batches)
    figures = {f"{name}_r1": values["r1"] for name, values in retrieval(vectors).items()}
    if model.has("word_classifier"):
        figures |= {f"{name}_accuracy": float(c.mean()) for name, c in correct(model, vectors).items()}
    return figures


def correct(model: Davs, vectors: Vectors) -> dict[str, np.ndarray]:
    """Which clips are read correctly from audio, video and both, bool `[N]` each."""
    return metrics.word_accuracy(model.word_logits(vectors.audio), model.word_logits(vectors.video), vectors.word)


def retrieval(vectors: Vectors) -> dict[str, dict[str, float]]:
    """Retrieval among all clips, by direction."""
    audio, video = metrics.clip_vectors(vectors.audio), metrics.clip_vectors(vectors.video)
    return {
        "audio_to_video": metrics.retrieval(audio, video),
        "video_to_audio": metrics.retrieval(video, audio),
    }


def accuracies(model: Davs, vectors: Vectors, seed: int) -> dict[str, dict[str, float]]:
    """Word accuracies with their 95 % intervals."""
    figures = {}
    for name, hits in correct(model, vectors).items():
        low, high = metrics.interval(hits, vectors.people, seed=seed)
        figures[name] = {"accuracy": float(hits.mean()), "low": low, "high": high}
    return figures


def probes(vectors: Vectors, seed: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Linear probes for words and for people, on each representation.

    Words are read from the 12 frames' vectors in a row, by folds of people; people from the mean over the frames,
    by folds of words.

    Returns:
      figures by `what_from_where`, and the reasons of those that could not be computed.
    """
    where = {"audio_wid": vectors.audio, "video_wid": vectors.video, "pid": vectors.pid, "maps": vectors.maps}
    tasks = {f"word_from_{name}": (value, vectors.word, vectors.people) for name, value in where.items()}
    tasks |= {f"person_from_{name}": (value, vectors.speaker, vectors.word) for name, value in where.items()}
    del tasks["person_from_maps"]  # pid is what carries the person, and must
    figures, skipped = {}, {}
    for name, (value, labels, held_out) in tasks.items():
        if value is None:
            skipped[name] = "the weights have no person encoder"
        elif (labels < 0).any():
            skipped[name] = f"the {name.split('_')[0]} of some clips is not known"
        else:
            features = value.mean(1) if name.startswith("person") else value.reshape(len(value), -1)
            try:
                figures[name] = probe(features, labels, held_out, vectors.people, seed)._asdict()
            except ValueError as error:
                skipped[name] = str(error)
    return figures, skipped


def face_probes(model: Davs, faces: FaceSource, seed: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Linear probes for people on identity images, which hold no speech; folds hold images.

    At most FACES images are read, and of them the identities that have at least five.

    Returns:
      figures by `person_from_where`, and the reasons of those that could not be computed.
    """
    view = View.central(faces.image_size)
    stored = [faces.record(i) for i in range(min(len(faces), FACES))]
    labels = np.array([record["identity"] for record in stored])
    usable = [i for i in np.flatnonzero(labels >= 0) if (labels == labels[i]).sum() >= FOLDS]
    if not usable:
        reason = f"no identity has {FOLDS} of the first {len(stored)} images; give a small set, such as LFW's largest"
        return {}, {"face_probes": reason}
    pictures = np.stack([view(stored[i]["image"], f"{faces.folder}: image {i}") for i in usable])
    vectors = {}
    if model.has("person_encoder"):
        vectors["pid"] = model.pid_from_frames(pictures)[0]
    if model.has("visual_encoder"):
        vectors["video_wid"] = model.wid_from_video(pictures)
    figures, skipped = {}, {}
    for name, value in vectors.items():
        try:
            figures[f"person_from_{name}"] = probe(value, labels[usable], seed=seed)._asdict()
        except ValueError as error:
            skipped[f"face_probes, {name}"] = str(error)
    return figures, skipped
