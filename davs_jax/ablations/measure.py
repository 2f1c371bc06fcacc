"""One arm's figures: `davs_jax.evaluate`'s own, on every clip of a split, as far as the arm's networks go."""

import contextlib

import numpy as np

from davs_jax.data.pipeline import eval_batches, open_clips
from davs_jax.data.sources import ClipSource
from davs_jax.evaluate import mouth, pictures, recognition, swap
from davs_jax.evaluate.probes import KINDS, probe
from davs_jax.evaluate.recognition import Vectors
from davs_jax.inference import Davs

BATCH = 16  # clips
MAJORITY = 0.5  # of the clips with one person: beyond it, to name the person is to guess
PROBES = ("word_from_pid", "word_from_maps", "person_from_pid", "person_from_video_wid", "person_from_audio_wid")


def measure(model: Davs, source: ClipSource) -> dict[str, float]:
    """Flat figures by `section/name`; what the arm's networks or the corpus do not allow is left out."""
    both = model.has("audio_encoder", "visual_encoder")
    batches = eval_batches(source, BATCH)
    vectors = recognition.encode(model, batches, persons=model.has("person_encoder"), every_frame=both)
    figures = {}
    if model.has("word_classifier"):
        read = recognition.logits(model, vectors)
        figures |= {f"read/{side}": float((v.argmax(1) == vectors.word).mean()) for side, v in read.items()}
    if both:
        figures["match/r1"] = recognition.retrieval(vectors)["audio_to_video"]["r1"]
        figures["match/shifts_found"] = recognition.synchronisation(vectors, 0)["exact"]["accuracy"]
        figures |= _modality(vectors)
    found, _ = recognition.probes(vectors, 0, PROBES)
    for name in found:
        if name.startswith("person") and found[name]["chance"] > MAJORITY:
            continue
        figures |= {f"probe/{name}": found[name]["accuracy"], f"probe/{name}_mlp": found[name]["mlp"]["accuracy"]}
    if model.has("person_encoder", "decoder", "audio_encoder"):
        figures |= _pictures(model, source, vectors)
    return figures


def _modality(vectors: Vectors) -> dict[str, float]:
    """Can a probe tell from one clip's mean wid whether it was heard or seen? A common space answers no, 50 %."""
    wid = np.concatenate([vectors.audio.mean(1), vectors.video.mean(1)])
    heard = np.repeat([1, 0], len(vectors.index))
    people = None if vectors.people is None else np.tile(vectors.people, 2)
    found = {kind: probe(wid, heard, people, people, kind=kind).accuracy for kind in KINDS}
    return {"probe/modality_from_wid": found["linear"], "probe/modality_from_wid_mlp": found["mlp"]}


def _pictures(model: Davs, source: ClipSource, vectors: Vectors) -> dict[str, float]:
    """Picture quality and lip motion by what drives them, and for models of both modalities the swap test."""
    figures, ruler = {}, None
    with contextlib.suppress(ValueError):  # the corpus does not know its mouths
        ruler = mouth.fit_ruler(eval_batches(open_clips(source.folder, "train"), BATCH), vectors.speaker)
    made = pictures.measure(model, None, source, eval_batches(source, BATCH), vectors.word, ruler, judged_clips=0)
    shown = pictures.picture_table(made, None, 0)
    moved = pictures.motion_table(made, vectors.mouth_opening, None, 0) if ruler else {}
    for variant in [v for v in ("audio", "video", "shuffled", "photo") if v in shown]:
        figures |= {f"picture/{name}_{variant}": shown[variant][name]["mean"] for name in ("psnr", "ssim", "mouth_l1")}
        if moved:
            figures |= {f"motion/{name}_{variant}": moved[variant][name] for name in ("correlation", "amplitude")}
    if model.has("visual_encoder"):
        with contextlib.suppress(ValueError):  # too few persons or words
            swapped = swap.swap_test(model, source, vectors, 0)
            figures |= {f"swap/{name}": swapped[name]["accuracy"] for name in ("person", "word_audio", "word_video")}
    return figures
