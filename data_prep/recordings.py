"""Turns a recording of any length into clip records: shots, the speaker in each, the offset, cuts, filters."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_prep import clips, cutting, footage, screening, speaker, synchrony
from data_prep.clips import UNKNOWN, Cut, Recording
from data_prep.cutting import Placed, Word
from data_prep.shards import Rejection, Unusable
from data_prep.speaker import Tracked
from davs_jax.constants import CLIP_FRAMES, FPS
from davs_jax.media.faces import alignment
from davs_jax.media.video.read import Clip


def clip_records(
    path: Path, video: str, words: Iterable[Word], label: Mapping[str, int], name: int, options: Mapping[str, Any]
) -> Iterator[dict | Rejection]:
    """Yields the records and rejections of one recording; nothing where no clip fits into it.

    Args:
      path: a local file.
      video: its name in records and rejections.
      words: timed words, of the vocabulary or not.
      label: of each word of the vocabulary.
      name: the speaker's label.
      options: of the plan of `data_prep.folder`.

    Raises:
      Unusable: the file cannot be read, is shorter than a clip, or has no audio.
    """
    clip = footage.read(path)
    shots, tracked = clip.frames.shots, {}
    for shot in (shot for shot in shots if len(shot) >= CLIP_FRAMES):
        try:
            tracked[shot] = speaker.track(footage.part(clip, shot), options)
        except Unusable as error:
            place = f" (frames {shot.start}–{shot.stop - 1})" if len(shots) > 1 else ""
            yield error.rejection(video + place)
    if not tracked:
        return
    sync = _synchrony(path, clip, tracked, options)
    clip = Clip(clip.frames, synchrony.shifted(clip.samples, sync.removed))
    heard = [synchrony.heard(shot, len(clip.frames), sync.removed) for shot in shots]
    words = [synchrony.shifted_word(word, sync.removed) for word in words]
    placed, lost = cutting.around_words(words, heard, options["off_middle"])
    for word, reason in lost:
        if word.text in label:
            place = f"{video} (word '{word.text}', line {word.line} of the table)"
            yield Rejection(place, "off middle", reason, "nothing to do, or give another --off-middle")
    placed = [clip for clip in placed if clip.word.text in label]
    if not options["labelled_only"]:
        placed = cutting.fill(placed, heard)
    for shot, track in tracked.items():
        cuts = [_cut(video, one, label, shot, track, sync) for one in placed if one.start in shot]
        recording, part = Recording(path, video, cuts, name), footage.part(clip, shot)
        for outcome in clips.cut_records(recording, cuts, part, track, options["image_size"]):
            yield _screened(outcome, video, options)


def _synchrony(
    path: Path, clip: Clip, tracked: Mapping[range, Tracked], options: Mapping[str, Any]
) -> synchrony.Synchrony:
    if not options["fix_offset"]:
        return synchrony.Synchrony("")
    points, lost = np.zeros((len(clip.frames), 5, 2), np.float32), np.ones(len(clip.frames), bool)
    for shot, track in tracked.items():
        points[shot.start : shot.stop], lost[shot.start : shot.stop] = track.points, track.lost
    return synchrony.measure(path, clip.samples, Tracked(points, lost, {}, {}), options)


def _cut(
    video: str, placed: Placed, label: Mapping[str, int], shot: range, track: Tracked, sync: synchrony.Synchrony
) -> Cut:
    start = placed.start - shot.start
    span = slice(start, start + CLIP_FRAMES)
    seen = [track.accompanied[index] for index in range(span.start, span.stop) if index in track.accompanied]
    measured = {
        "eye_distance": round(alignment.eye_distance(track.points[span]), 2),
        "second_face": round(float(np.mean(seen)), 2) if seen else 0.0,
        **(sync.measures if sync.outcome else {}),
    }
    clip_id, word = f"{video}/{placed.start}", placed.word
    if word:
        clip_id += f"_{word.text}"
        measured |= {
            "word_start": round(word.start * FPS, 2),
            "word_end": round(word.end * FPS, 2),
            "off_middle": round(placed.off_middle, 2),
            "shift": placed.start - cutting.first_frame(word.middle),
        }
    return Cut(clip_id, label[word.text] if word else UNKNOWN, start + CLIP_FRAMES / 2, measured)


def _screened(outcome: dict | Rejection, video: str, options: Mapping[str, Any]) -> dict | Rejection:
    if isinstance(outcome, Rejection):
        return outcome
    try:
        screening.check(json.loads(outcome["measures"]), options)
    except Unusable as error:
        return error.rejection(f"{video} ({outcome['clip_id']})")
    return outcome
