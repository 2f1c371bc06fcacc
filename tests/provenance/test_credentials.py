import stat
import sys

import numpy as np
import pytest
from PIL import Image

from davs_jax.generate import __main__ as generate
from davs_jax.media import video
from davs_jax.provenance import credentials
from davs_jax.provenance.credentials import METADATA, ProvenanceError, State


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user who has never signed anything."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def signer(home):
    pytest.importorskip("c2pa", reason=f"signing needs {credentials.INSTALL}")
    return credentials.signer(say=lambda text: None)


@pytest.fixture
def film(tmp_path):
    """A generated video as the command writes it, not signed yet, in a folder whose name is nobody's business."""
    path = tmp_path / "Jane Doe, divorce" / "talking.mp4"
    path.parent.mkdir()
    with video.Writer(path, samples=np.zeros(6400, np.float32), metadata=METADATA) as writer:
        for i in range(10):
            writer.write(np.random.default_rng(i).integers(0, 255, (64, 64, 3), np.uint8))
    return path


def test_a_signed_file_is_found_whole_and_says_that_it_is_generated(film, signer):
    credentials.sign(film, signer, ("photo", "speech"))
    state, text = credentials.verify(film)
    assert state == State.SIGNED
    assert "signed and says that it is AI-generated, by davs_jax" in text
    assert "from these parts: photo, speech" in text
    assert "Nothing was altered" in text
    assert "is your own" in text
    assert len(list(video.read_frames(film))) == 10  # it plays


def test_signing_names_no_file_and_no_folder(film, signer):
    credentials.sign(film, signer, ("photo", "speech"))
    data = film.read_bytes()
    assert b"c2pa" in data
    assert b"Jane" not in data
    assert b"talking.mp4" not in data
    assert list(film.parent.iterdir()) == [film]


def test_whoever_has_not_made_the_certificate_is_told_that_nobody_vouches_for_it(film, signer, tmp_path, monkeypatch):
    credentials.sign(film, signer, ("photo",))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody else"))
    state, text = credentials.verify(film)
    assert state == State.SIGNED
    assert "not one that anybody vouches for" in text
    assert not (tmp_path / "somebody else").exists()  # checking makes no certificate


def flipped(path, position: int):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("what", [b"mdat", b"trainedAlgorithmicMedia", b"AI-generated", b"c2pa.signature"])
def test_one_flipped_bit_is_reported(film, signer, what):
    credentials.sign(film, signer, ("photo",))
    flipped(film, film.read_bytes().find(what) + len(what) + (500 if what == b"mdat" else -1))
    state, text = credentials.verify(film)
    assert state == State.ALTERED
    assert "altered after it was signed" in text or "is damaged" in text


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_cut_off_file_is_reported(film, signer, part):
    credentials.sign(film, signer, ("photo",))
    data = film.read_bytes()
    film.write_bytes(data[: int(part * len(data))])
    assert credentials.verify(film).state == State.ALTERED


def test_plain_tags_alone_are_told_apart(film, signer):
    state, text = credentials.verify(film)
    assert state == State.UNSIGNED
    assert METADATA["comment"] in text
    assert "It is not signed" in text


def test_what_a_file_says_cannot_pass_for_the_checks_own_words(film, signer):
    credentials.sign(film, signer, ("photo\n\x1b[2JNothing was altered.",))
    text = credentials.verify(film).text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_a_file_is_known_by_its_bytes_not_by_its_name(film, signer):
    credentials.sign(film, signer, ("photo",))
    assert credentials.verify(film.rename(film.with_name("notes.txt"))).state == State.SIGNED


def test_pictures_are_signed_and_checked_too(tmp_path, signer):
    for name in ("a.png", "a.gif"):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
        assert credentials.verify(tmp_path / name).state == State.SILENT
        credentials.sign(tmp_path / name, signer, ("photo",))
        assert credentials.verify(tmp_path / name).state == State.SIGNED


@pytest.mark.parametrize(
    "data", [b"", b"a letter to a friend\n", bytes(range(256)) * 40, b"%PDF-1.4\n", b"#EXTM3U\nx.mp4"]
)
def test_what_is_no_video_says_nothing(tmp_path, signer, data):
    (tmp_path / "file").write_bytes(data)
    state, text = credentials.verify(tmp_path / "file")
    assert state == State.SILENT
    assert "proves nothing" in text


def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, signer):
    for path, message in ((tmp_path / "missing.mp4", r"cannot be read.*check the path"), (tmp_path, "is a folder")):
        with pytest.raises(ProvenanceError, match=message):
            credentials.verify(path)


def test_what_cannot_be_signed_stays_as_it_was(tmp_path, signer):
    path = tmp_path / "folder" / "no.mp4"
    path.parent.mkdir()
    path.write_text("no video")
    with pytest.raises(ProvenanceError, match="could not be signed"):
        credentials.sign(path, signer, ("photo",))
    assert path.read_text() == "no video"
    assert list(path.parent.iterdir()) == [path]


def test_a_certificate_is_made_once_and_its_key_is_private(home):
    pytest.importorskip("c2pa", reason=f"signing needs {credentials.INSTALL}")
    said = []
    for _ in range(2):
        credentials.signer(say=said.append)
    file = home / "davs_jax" / "signing.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(said) == 1
    assert str(file) in said[0]


def test_where_no_certificate_can_be_kept_files_have_plain_tags(tmp_path, monkeypatch):
    pytest.importorskip("c2pa", reason=f"signing needs {credentials.INSTALL}")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    said = []
    assert credentials.signer(say=said.append) is None
    assert "plain tags only" in said[0]
    assert "cannot be kept" in said[0]


def test_a_given_certificate_signs(film, signer, home, tmp_path, monkeypatch):
    own = (home / "davs_jax" / "signing.pem").read_bytes()
    key, _, chain = own.partition(b"-----BEGIN CERTIFICATE")
    (tmp_path / "cert.pem").write_bytes(b"-----BEGIN CERTIFICATE" + chain)
    (tmp_path / "key.pem").write_bytes(key)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    given = credentials.signer(tmp_path / "cert.pem", tmp_path / "key.pem")
    credentials.sign(film, given, ("photo",))
    assert credentials.verify(film).state == State.SIGNED
    assert not (tmp_path / "other").exists()


def test_a_certificate_that_cannot_sign_is_refused_before_the_work(signer, home, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from davs_jax.provenance import certificates

    own, other = home / "davs_jax" / "signing.pem", ec.generate_private_key(ec.SECP256R1())

    def written(name: str, data: bytes):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    def pem(lock):
        return other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)

    foreign = written("foreign.pem", pem(serialization.NoEncryption()))
    locked = written("locked.pem", pem(serialization.BestAvailableEncryption(b"secret")))
    alone = certificates._certificate("x", other, "x", other, True)
    alone = written("alone.pem", alone.public_bytes(serialization.Encoding.PEM))
    text = written("text.pem", b"hello")
    for certificate, key, message in (
        (own, foreign, r"foreign\.pem: is not the key of"),
        (own, locked, r"locked\.pem: .*without a password"),
        (text, foreign, r"text\.pem: .*a PEM certificate"),
        (tmp_path / "none.pem", foreign, r"none\.pem: cannot be read"),
        (alone, foreign, r"alone\.pem: C2PA does not take this certificate"),
        (own, None, "go together"),
    ):
        with pytest.raises(ProvenanceError, match=message) as raised:
            credentials.signer(certificate, key)
        assert "\n" not in str(raised.value)


@pytest.fixture
def without_the_extra(monkeypatch):
    for name in ("c2pa", "davs_jax.provenance.certificates"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("davs_jax.provenance.certificates", raising=False)


def test_without_the_extra_the_check_says_how_to_get_it(without_the_extra, film, capsys):
    with pytest.raises(SystemExit) as stopped:
        generate.main(["--verify", str(film)])
    assert stopped.value.code == 1
    assert credentials.INSTALL in capsys.readouterr().err


def test_without_the_extra_files_have_plain_tags_and_that_is_said(without_the_extra, film):
    said, before = [], film.read_bytes()
    signer = credentials.signer(say=said.append)
    credentials.sign(film, signer, ("photo",))
    assert film.read_bytes() == before
    assert len(said) == 1
    assert credentials.INSTALL in said[0]
    with pytest.raises(ProvenanceError, match="pip install"):
        credentials.signer(film, film)


@pytest.mark.parametrize("damage", [False, True])
def test_the_command_answers_in_sentences_and_by_its_exit_status(film, signer, capsys, damage):
    credentials.sign(film, signer, ("photo",))
    if damage:
        flipped(film, len(film.read_bytes()) - 100)
    with pytest.raises(SystemExit) as stopped:
        generate.main(["--verify", str(film)])
    assert stopped.value.code == (3 if damage else 0)
    assert ("do not rely on it" if damage else "Nothing was altered") in capsys.readouterr().out
