"""MS-Celeb-1M in each of its forms, written small and read back."""

import base64
import io
import shutil
import struct
import tarfile

import cv2
import numpy as np
import pytest
from PIL import Image

from data_prep import archives, ms_celeb, photos
from davs_jax.media.faces import alignment
from support.preparation import dataset, prepare, records, rejections
from support.recordings import RECORDINGS

LFW = RECORDINGS / "faces" / "lfw"
MAGIC = struct.pack("<I", 0xCED7230A)
LEVELS = {"m.02": 60, "m.10": 200}  # identity by its photos' gray


def jpeg(level, side=112):
    file = io.BytesIO()
    Image.new("RGB", (side, side), (level,) * 3).save(file, "JPEG")
    return file.getvalue()


PHOTOS = [(name, jpeg(level + 4 * i)) for name, level in LEVELS.items() for i in range(2)]
NUMBER = {name: i for i, name in enumerate(LEVELS)}


def write_tsv(folder, images=PHOTOS):
    lines = []
    for i, (name, data) in enumerate(images):
        box = base64.b64encode(struct.pack("<4f", 0, 0, 1, 1))
        columns = [name.encode(), b"%d" % i, b"http://a", b"http://b", b"FaceId-0", box, base64.b64encode(data)]
        lines.append(b"\t".join(columns) + b"\n")
    (folder / "Faces-Aligned.tsv").write_bytes(b"".join(lines))


def parts(content):
    """A record's content as RecordIO writes it: split where it holds the magic number at a multiple of four."""
    pieces, start = [], 0
    for at in range(0, len(content) - 3, 4):
        if content[at : at + 4] == MAGIC:
            pieces.append(content[start:at])
            start = at + 4
    pieces.append(content[start:])
    flags = [0] if len(pieces) == 1 else [1, *[2] * (len(pieces) - 2), 3]
    for flag, piece in zip(flags, pieces, strict=True):
        yield MAGIC + struct.pack("<I", flag << 29 | len(piece)) + piece + bytes(-len(piece) % 4)


def write_recordio(folder, images=PHOTOS, index=True):
    """As recognition corpora are: record 0 bounds the photos' keys, the records behind it tell of identities."""
    contents = [struct.pack("<IfQQ", 2, 0, 0, 0) + struct.pack("<2f", len(images) + 1, len(images) + 3)]
    for key, (name, data) in enumerate(images, 1):
        many = key % 2  # labels are written in either way
        head = struct.pack("<IfQQ", 2 * many, 0 if many else NUMBER[name], key, 0)
        contents.append(head + (struct.pack("<2f", NUMBER[name], 0) if many else b"") + data)
    contents += [struct.pack("<IfQQ", 2, 0, 0, 0) + struct.pack("<2f", 1, 3)] * 2
    data, lines = b"", []
    for key, content in enumerate(contents):
        lines.append(f"{key}\t{len(data)}\n")
        data += b"".join(parts(content))
    (folder / "train.rec").write_bytes(data)
    if index:
        (folder / "train.idx").write_text("".join(lines))


def write_tars(folder, images=PHOTOS):
    for number in range(2):
        with tarfile.open(folder / f"ms-{number:04d}.tar", "w") as archive:
            for i, (name, data) in enumerate(images[number::2]):
                for ending, content in (("cls", b"%d" % NUMBER[name]), ("jpg", data)):
                    member = tarfile.TarInfo(f"{i:06d}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def write_folders(folder, images=PHOTOS):
    for i, (name, data) in enumerate(images):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"{i}-FaceId-0.jpg").write_bytes(data)


FORMS = {
    "tsv": write_tsv,
    "recordio": write_recordio,
    "recordio without index": lambda folder: write_recordio(folder, index=False),
    "tars": write_tars,
    "folders": write_folders,
}


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def level(record):
    return np.asarray(Image.open(io.BytesIO(record["image"])))[32, 32].mean()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_every_photo_with_its_identity(corpus, form, one_face):
    FORMS[form](corpus)
    status, output = prepare(ms_celeb, corpus, "--crops", "arcface")
    assert status == 0
    found = sorted((record["identity"], round(level(record))) for record in records(output))
    assert [identity for identity, _ in found] == [0, 0, 1, 1]
    np.testing.assert_allclose([gray for _, gray in found], [60, 64, 200, 204], atol=2)
    assert len({record["face_id"] for record in records(output)}) == 4
    assert rejections(output) == []


def test_a_photo_that_holds_the_magic_number_is_put_together_again(corpus):
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 30) + bytes(2) + 7 * MAGIC  # a JPEG's comment, at a multiple of four
    write_recordio(corpus, [(name, data[:2] + comment + data[2:]) for name, data in PHOTOS])
    data = (corpus / "train.rec").read_bytes()
    assert any(data[at + 7] >> 5 == 2 for at in range(0, len(data) - 7, 4) if data[at : at + 4] == MAGIC)
    assert prepare(ms_celeb, corpus)[0] == 0
    assert len(records(corpus.parent / "out")) == 4


def test_an_index_that_repeats_keys_numbers_the_records_in_their_order(corpus, caplog):
    write_recordio(corpus)
    index = corpus / "train.idx"
    offsets = [line.split()[1] for line in index.read_text().splitlines()]
    index.write_text("".join(f"1\t{offset}\n" for offset in reversed(offsets)))
    assert [entry.name for entry in archives.entries(corpus / "train.rec", "a")] == [f"a/{key}" for key in range(1, 5)]
    assert "train.idx: repeats keys, so records are numbered in their order in train.rec" in caplog.text


def test_numbered_identities_keep_their_order(corpus):
    NUMBER["m.10"] = 10
    try:
        write_recordio(corpus, [*PHOTOS, *PHOTOS])
    finally:
        NUMBER["m.10"] = 1
    _, output = prepare(ms_celeb, corpus)
    assert dataset(output).info.features["identity"].names == ["0", "10"]


def test_arcfaces_template_goes_to_ours_by_one_similarity(corpus):
    """Eyes and mouth of a crop of 112 pixels, and of one of 224, land where those of an aligned face lie."""
    for side in (112, 224):
        image = np.zeros((side, side, 3), np.uint8)
        points = (photos.ARCFACE_POINTS + 0.5) * side / 112 - 0.5
        image[tuple(np.round(points[0]).astype(int)[::-1])] = 255
        spot = cv2.GaussianBlur(image.astype(np.float32), (0, 0), side / 40)
        image = (255 * spot / spot.max()).astype(np.uint8)
        record = photos.face_record("a", image, 0, {"image_size": 256, "crops": "arcface"})
        aligned = np.asarray(Image.open(io.BytesIO(record["image"]))).astype(float)[..., 0]
        y, x = np.mgrid[:260, :260]
        weight = np.where(aligned > 40, aligned, 0) * (np.hypot(x - 95, y - 116) < 40)
        centre = (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()
        wanted = alignment.similarity(points, 260) @ [*np.round(points[0]), 1]
        np.testing.assert_allclose(centre, wanted, atol=0.7)
        np.testing.assert_allclose(wanted, (94.0, 117.0), atol=4)


def test_crops_may_be_looked_at_again_instead(corpus, one_face, capsys):
    write_recordio(corpus)
    one_face(0)
    status, output = prepare(ms_celeb, corpus, "--crops", "detect")
    assert (status, "every input was rejected" in capsys.readouterr().err) == (1, True)
    assert {rejection["stage"] for rejection in rejections(output)} == {"face"}


def test_damaged_lines_records_and_tars_are_rejected_and_the_rest_is_kept(tmp_path):
    def damage(form, change):
        folder = tmp_path / form / "in"
        folder.mkdir(parents=True)
        FORMS[form](folder)
        change(folder)
        status, output = prepare(ms_celeb, folder, "--crops", "arcface")
        assert status == 0
        assert all(line["reason"] and line["remedy"] for line in rejections(output))
        return len(records(output)), sorted(line["file"] for line in rejections(output))

    def bad_lines(folder):
        path = folder / "Faces-Aligned.tsv"
        first, second, *rest = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([b"a\tb\n", first[:-9] + b"*" + first[-9:], second, *rest]))

    def bad_magic(folder):
        data = bytearray((folder / "train.rec").read_bytes())
        at = int((folder / "train.idx").read_text().splitlines()[2].split()[1])
        data[at : at + 4] = b"oops"
        (folder / "train.rec").write_bytes(data)

    def bad_index(folder):
        lines = (folder / "train.idx").read_text().splitlines()
        (folder / "train.idx").write_text("\n".join([lines[0], "one two", *lines[2:]]))

    def cut(file, kept):
        return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:kept])

    assert damage("tsv", bad_lines) == (3, ["Faces-Aligned.tsv/1", "Faces-Aligned.tsv/2-m.02-0-FaceId-0"])
    assert damage("recordio", bad_magic) == (3, ["train.rec/2"])
    shutil.rmtree(tmp_path / "recordio")
    assert damage("recordio", bad_index) == (3, ["train.idx (line 2)"])
    kept, lost = damage("recordio without index", cut("train.rec", 2000))
    assert (kept >= 1, len(lost)) == (True, 1)
    kept, lost = damage("tars", cut("ms-0000.tar", 3072 + 100))
    assert (kept, len(lost)) == (3, 1)
    assert lost[0].startswith("ms-0000.tar (after ")


def test_two_forms_in_one_folder_and_none_at_all_are_errors(corpus, capsys):
    assert prepare(ms_celeb, corpus)[0] == 1
    assert "no photo in any .tsv, .rec or .tar" in capsys.readouterr().err
    write_tsv(corpus)
    write_recordio(corpus)
    assert prepare(ms_celeb, corpus)[0] == 1
    assert "holds .rec and .tsv files" in capsys.readouterr().err


def test_a_photo_that_is_not_square_is_no_crop_of_the_template(corpus):
    write_folders(corpus)
    Image.new("RGB", (112, 96)).save(corpus / "m.02" / "0-FaceId-0.jpg")
    _, output = prepare(ms_celeb, corpus, "--crops", "arcface")
    (rejection,) = rejections(output)
    assert "is 112 × 96 pixels" in rejection["reason"]
    assert rejection["remedy"] == "prepare it with --crops detect"


@pytest.mark.skipif(not LFW.is_dir(), reason=f"real photos are not there: {LFW}")
def test_real_photos_in_a_table_are_found(corpus):
    names = sorted(path.name for path in LFW.iterdir())[:2]
    write_tsv(corpus, [(name, sorted((LFW / name).iterdir())[0].read_bytes()) for name in names])
    assert prepare(ms_celeb, corpus)[0] == 0
    assert len(records(corpus.parent / "out")) == 2


def test_a_compressed_file_is_told_of(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "train.tar.gz").write_bytes(b"")
    assert ms_celeb.main(["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 1
    assert "train.tar.gz: is compressed" in capsys.readouterr().err
