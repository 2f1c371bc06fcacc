"""Figures of a trained model's vectors: words, retrieval and offsets."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jax.sharding import Mesh

from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import metrics
from davs_jax.evaluate.probes import FOLDS
from davs_jax.evaluate.sections import Accuracy, Retrieval, Share, Synchronisation, Word
from davs_jax.inference import Davs
from davs_jax.media import offsets
from davs_jax.models import flatten_time
from davs_jax.talker import Talker


@dataclass(frozen=True)
class Vectors:
    """The vectors of N clips at their word frames, with the clips' labels.

    wid is None where the weights lack its encoder; pid, maps and distances are None where they were not asked for.
    """

    index: np.ndarray  # [N], position in the source
    word: np.ndarray  # [N], −1 where unknown
    speaker: np.ndarray  # [N], −1 where unknown
    mouth_opening: np.ndarray  # [N, 29], NaN where unknown
    audio: np.ndarray | None = None  # wid [N, 12, E]
    video: np.ndarray | None = None  # wid [N, 12, E]
    pid: np.ndarray | None = None  # [N, 12, E]
    maps: np.ndarray | None = None  # the word adversary's map, pooled, [N, 12, 16·C]
    distances: np.ndarray | None = None  # between all 29 frames' wid of video and of audio, [N, 29, 29]

    @property
    def people(self) -> np.ndarray | None:
        """Speakers, for intervals to resample and folds to hold out; None where some are unknown or they are few."""
        known = (self.speaker >= 0).all() and len(np.unique(self.speaker)) >= FOLDS
        return self.speaker if known else None


def clips(batches: Iterable[dict]) -> Iterator[dict]:
    """The clips of `data.eval_batches`, one by one, without the padding."""
    for batch in batches:
        for i in np.flatnonzero(batch["mask"]):
            yield {key: value[i] for key, value in batch.items()}


def encode(model: Talker, batches: Iterable[dict], persons: bool = False, every_frame: bool = False) -> Vectors:
    """Runs the encoders over `data.eval_batches`.

    Args:
      persons: also encode the word frames in the person space.
      every_frame: encode all frames, not only the word frames, and keep their distances for `synchronisation`; needs
        both encoders.

    Raises:
      DataError: while reading, a damaged record.
    """
    spoken, parts = model.word_frames, []
    for batch in batches:
        keep = batch["mask"]
        frames = np.arange(batch["frames"].shape[1]) if every_frame else spoken
        images, windows = (batch[key][keep][:, frames] for key in ("frames", "speech"))
        wid = {}
        if model.has("audio_encoder"):
            wid["audio"] = model.raw_wid_from_audio(windows)
        if model.has("visual_encoder"):
            wid["video"] = model.raw_wid_from_video(images)
        at = np.searchsorted(frames, spoken)
        part = {key: batch[key][keep] for key in ("index", "word", "speaker", "mouth_opening")}
        part |= {side: model.normalised(vectors[:, at]) for side, vectors in wid.items()}
        if persons:
            encoded = model.pid_from_frames(flatten_time(images[:, at]))
            shape = (len(images), len(spoken), -1)
            part |= dict(zip(("pid", "maps"), (v.reshape(shape) for v in encoded), strict=True))
        if every_frame:
            part["distances"] = offsets.frame_distances(model.normalised(wid["video"]), model.normalised(wid["audio"]))
        parts.append(part)
    return Vectors(**{key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


def recognise(model: Davs, batches: Iterable[dict]) -> dict[str, float]:
    """The figures of a validation: `{audio,video,both}_accuracy` and R@1 of retrieval in both directions.

    Args:
      batches: of `data.eval_batches`; padding is left out, so every clip counts once.

    Returns:
      figures by name; no accuracies where the weights have no word classifier, or no clip has a known word.
    """
    vectors = encode(model, batches)
    found = retrieval(vectors, model.mesh)
    figures = {"audio_to_video_r1": found.audio_to_video.r1, "video_to_audio_r1": found.video_to_audio.r1}
    known = vectors.word >= 0
    if model.has("word_classifier") and known.any():
        read = logits(model, vectors)
        figures |= {f"{k}_accuracy": float((v.argmax(1) == vectors.word)[known].mean()) for k, v in read.items()}
    return figures


def logits(model: Davs, vectors: Vectors) -> dict[str, np.ndarray]:
    """Word logits `[N, words]` from audio, video and both, or from the one modality that the weights can encode."""
    read = {"audio": vectors.audio, "video": vectors.video}
    read = {side: model.word_logits(wid) for side, wid in read.items() if wid is not None}
    return metrics.word_logits(*read.values()) if len(read) == 2 else read


def retrieval(vectors: Vectors, mesh: Mesh | None = None) -> Retrieval:
    """Retrieval among all clips, by direction."""
    audio, video = metrics.clip_vectors(vectors.audio), metrics.clip_vectors(vectors.video)
    return Retrieval(
        audio_to_video=metrics.retrieval(audio, video, mesh), video_to_audio=metrics.retrieval(video, audio, mesh)
    )


def accuracies(read: dict[str, np.ndarray], vectors: Vectors, seed: int) -> dict[str, Accuracy]:
    """Word accuracies by modality, of the clips whose word is known.

    Args:
      read: as from `logits`.

    Raises:
      NotMeasurable: no clip's word is known.
    """
    known = vectors.word >= 0
    if not known.any():
        raise NotMeasurable("no clip's word is known")
    people = None if vectors.people is None else vectors.people[known]

    def accuracy(values: np.ndarray) -> Accuracy:
        ranks = metrics.label_ranks(values[known], vectors.word[known])
        low, high = metrics.interval(ranks < 1, people, seed=seed)
        top5_low, top5_high = metrics.interval(ranks < 5, people, seed=seed)
        return Accuracy(
            accuracy=float((ranks < 1).mean()),
            low=low,
            high=high,
            top5=float((ranks < 5).mean()),
            top5_low=top5_low,
            top5_high=top5_high,
        )

    return {name: accuracy(values) for name, values in read.items()}


def partner(i: int, words: np.ndarray) -> int:
    """The clip whose audio replaces that of clip i: the first from i + N/2 on, cyclically, that says another word.

    Args:
      words: of all clips `[N]`; an unknown one, −1, counts as another word than any.

    Raises:
      NotMeasurable: every clip says the same word.
    """
    others = (i + len(words) // 2 + np.arange(len(words))) % len(words)
    different = others[(others != i) & ((words[others] != words[i]) | (words[i] < 0))]
    if not len(different):
        raise NotMeasurable("all clips say one word, so no clip can get the audio of another word")
    return int(different[0])


def baselines(
    untrained: Davs, batches: Iterable[dict], read: dict[str, np.ndarray], vectors: Vectors, seed: int
) -> dict[str, dict[str, Accuracy]]:
    """`accuracies` of fresh weights, and with the audio of a clip that says another word.

    Args:
      untrained: the same networks with fresh weights.
      batches: of `data.eval_batches`, for the untrained model.
      read: as from `logits`, of the trained model.

    Returns:
      accuracies under `untrained` and, with both encoders and more than one word, `shuffled`.
    """
    figures = {"untrained": accuracies(logits(untrained, encode(untrained, batches)), vectors, seed)}
    if "both" in read and len(np.unique(vectors.word)) > 1:
        wrong = [partner(i, vectors.word) for i in range(len(vectors.word))]
        figures["shuffled"] = accuracies(metrics.word_logits(read["audio"][wrong], read["video"]), vectors, seed)
    return figures


def word_table(confusions: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, Word]:
    """Recognition of each word, and what it was most often taken for.

    Args:
      confusions: `metrics.confusion` from audio, video and both, or from one modality; what a word was taken for is
        counted on video, or on the one modality.
      names: the vocabulary; words without a clip are left out.
    """
    counted = confusions.get("video", next(iter(confusions.values())))
    rows, wrong = {}, counted * (1 - np.eye(len(names), dtype=int))
    for i in np.flatnonzero(counted.sum(1)):
        taken = wrong[i].argmax()
        rows[names[i]] = Word(
            clips=int(counted[i].sum()),
            **{name: float(counts[i, i] / counts[i].sum()) for name, counts in confusions.items()},
            taken_for=names[taken] if wrong[i, taken] else "",
        )
    return rows


def synchronisation(vectors: Vectors, seed: int) -> Synchronisation:
    """The model's own audio-video offsets, and the known shifts that it finds."""
    found = [offsets.best_offset(means) for means in offsets.offset_distances(vectors.distances, offsets.REACH)]
    late = np.array([offset.frames for offset in found])

    def shifts_found(tolerance: int) -> Share:
        hits = offsets.shift_hits(vectors.distances, tolerance)
        low, high = metrics.interval(hits.mean(1), vectors.people, seed=seed)
        chance = (2 * tolerance + 1) / (2 * offsets.REACH + 1)
        return Share(accuracy=float(hits.mean()), low=low, high=high, chance=chance)

    return Synchronisation(
        offsets={str(s): int((late == s).sum()) for s in range(-offsets.REACH, offsets.REACH + 1)},
        distance=float(np.mean([offset.distance for offset in found])),
        confidence=float(np.mean([offset.confidence for offset in found])),
        exact=shifts_found(0),
        within_1=shifts_found(1),
    )
