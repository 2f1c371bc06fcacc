import dataclasses

import numpy as np

from davs_jax.data.sources import open_faces
from davs_jax.evaluate.disentanglement import face_probes, probes
from davs_jax.evaluate.recognition import Vectors


def test_probes_find_what_a_representation_holds_and_no_more(vectors):
    figures, skipped = probes(vectors, seed=0)
    assert figures["word_from_audio_wid"].accuracy > 0.9
    assert figures["person_from_video_wid"].accuracy > 0.9
    assert figures["word_from_audio_wid"].mlp.accuracy > 0.9
    assert figures["word_from_video_wid"].low < 0.25 + 0.1
    assert figures["person_from_audio_wid"].low < 0.2 + 0.1
    assert set(skipped) == {"word_from_pid", "word_from_maps", "person_from_pid"}


def test_a_person_in_how_far_features_move_is_found_where_the_mean_says_nothing(vectors):
    """As normalised over time by the mean alone: each person moves other features."""
    rng = np.random.default_rng(1)
    moved = rng.normal(size=(80, 12, 256)) * (1 + 0.5 * rng.normal(size=(5, 1, 256))[vectors.speaker])
    hidden = dataclasses.replace(vectors, video=moved - moved.mean(1, keepdims=True))
    asked = [f"person_from_video_wid{view}" for view in ("", "_frames", "_moments")]
    found, _ = probes(hidden, 0, asked)
    assert found["person_from_video_wid_moments"].accuracy > 0.9
    assert found["person_from_video_wid"].low < 0.2 + 0.1


def test_unknown_people_leave_out_their_probes_and_say_so(vectors):
    unknown = Vectors(vectors.index, vectors.word, np.full(80, -1), vectors.mouth_opening, vectors.audio, vectors.video)
    figures, skipped = probes(unknown, seed=0)
    assert "word_from_audio_wid" in figures
    assert "not known" in skipped["person_from_video_wid"]
    assert unknown.people is None


def test_faces_are_probed_for_people_where_there_are_enough_of_each(model, faces_folder):
    faces = open_faces(faces_folder, "train")  # two images of each of five people
    figures, skipped = face_probes(model, faces, seed=0)
    assert not figures
    assert "no identity has 5" in skipped["face_probes"]
    many = type(faces)(faces.folder, "train", [r for r in faces.data for _ in range(3)], faces.identities, 64)
    figures, skipped = face_probes(model, many, seed=0)
    assert figures["person_from_pid"].clips == 30
    assert figures["person_from_pid"].accuracy > 0.8  # the copies give it away
    assert not skipped
