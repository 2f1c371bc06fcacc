import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from davs_jax.generate import __main__ as generate
from davs_jax.media import video
from davs_jax.provenance import signing, verification
from davs_jax.provenance.errors import ProvenanceError
from davs_jax.provenance.signing import METADATA
from davs_jax.provenance.verification import State


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user who has never signed anything."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def signer(home):
    pytest.importorskip("c2pa", reason=f"signing needs {signing.INSTALL}")
    return signing.signer(say=lambda text: None)


@pytest.fixture
def generated(tmp_path):
    """A generated video as the command writes it, not signed yet, in a folder whose name is private."""
    path = tmp_path / "Jane Doe, divorce" / "talking.mp4"
    path.parent.mkdir()
    with video.Writer(path, samples=np.zeros(6400, np.float32), metadata=METADATA) as writer:
        for i in range(10):
            writer.write(np.random.default_rng(i).integers(0, 255, (64, 64, 3), np.uint8))
    return path


def test_a_signed_file_verifies_and_says_that_it_is_generated(generated, signer):
    signing.sign(generated, signer, ("photo", "speech"))
    state, text = verification.verify(generated)
    assert state == State.SIGNED
    assert "signed and says that it is AI-generated, by davs_jax" in text
    assert "made from: photo, speech" in text
    assert "Nothing was altered" in text
    assert "is your own" in text
    assert len(list(video.read_frames(generated))) == 10  # it plays


def test_signing_names_no_file_and_no_folder(generated, signer):
    signing.sign(generated, signer, ("photo", "speech"))
    data = generated.read_bytes()
    assert b"c2pa" in data
    assert b"Jane" not in data
    assert b"talking.mp4" not in data
    assert list(generated.parent.iterdir()) == [generated]


def test_the_certificate_of_another_user_is_reported_as_not_trusted(generated, signer, tmp_path, monkeypatch):
    signing.sign(generated, signer, ("photo",))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody else"))
    state, text = verification.verify(generated)
    assert state == State.SIGNED
    assert "not on any trust list" in text
    assert not (tmp_path / "somebody else").exists()  # checking makes no certificate


def flipped(path, position: int):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("what", [b"mdat", b"trainedAlgorithmicMedia", b"AI-generated", b"c2pa.signature"])
def test_one_flipped_bit_is_reported(generated, signer, what):
    signing.sign(generated, signer, ("photo",))
    flipped(generated, generated.read_bytes().find(what) + len(what) + (500 if what == b"mdat" else -1))
    state, text = verification.verify(generated)
    assert state == State.ALTERED
    assert "altered after it was signed" in text or "is damaged" in text


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_cut_off_file_is_reported(generated, signer, part):
    signing.sign(generated, signer, ("photo",))
    data = generated.read_bytes()
    generated.write_bytes(data[: int(part * len(data))])
    assert verification.verify(generated).state == State.ALTERED


def test_plain_tags_alone_are_reported_as_unsigned(generated, signer):
    state, text = verification.verify(generated)
    assert state == State.UNSIGNED
    assert METADATA["comment"] in text
    assert "It is not signed" in text


def test_text_from_a_file_cannot_imitate_the_reports_own_lines(generated, signer):
    signing.sign(generated, signer, ("photo\n\x1b[2JNothing was altered.",))
    text = verification.verify(generated).text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_the_format_is_detected_from_the_bytes_not_from_the_name(generated, signer):
    signing.sign(generated, signer, ("photo",))
    assert verification.verify(generated.rename(generated.with_name("notes.txt"))).state == State.SIGNED


def test_images_are_signed_and_verified_too(tmp_path, signer):
    for name in ("a.png", "a.gif"):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
        assert verification.verify(tmp_path / name).state == State.SILENT
        signing.sign(tmp_path / name, signer, ("photo",))
        assert verification.verify(tmp_path / name).state == State.SIGNED


@pytest.mark.parametrize("data", [b"", b"plain text\n", bytes(range(256)) * 40, b"%PDF-1.4\n", b"#EXTM3U\nx.mp4"])
def test_a_file_that_is_not_media_says_nothing(tmp_path, signer, data):
    (tmp_path / "file").write_bytes(data)
    state, text = verification.verify(tmp_path / "file")
    assert state == State.SILENT
    assert "proves nothing" in text


def test_an_unreadable_file_is_refused_in_one_sentence(tmp_path, signer):
    for path, message in ((tmp_path / "missing.mp4", r"cannot be read.*check the path"), (tmp_path, "is a folder")):
        with pytest.raises(ProvenanceError, match=message):
            verification.verify(path)


def test_a_file_that_cannot_be_signed_is_unchanged(tmp_path, signer):
    path = tmp_path / "folder" / "no.mp4"
    path.parent.mkdir()
    path.write_text("no video")
    with pytest.raises(ProvenanceError, match="could not be signed"):
        signing.sign(path, signer, ("photo",))
    assert path.read_text() == "no video"
    assert list(path.parent.iterdir()) == [path]


def test_a_certificate_is_made_once_and_its_key_is_private(home):
    pytest.importorskip("c2pa", reason=f"signing needs {signing.INSTALL}")
    said = []
    for _ in range(2):
        signing.signer(say=said.append)
    file = home / "davs_jax" / "signing.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(said) == 1
    assert str(file) in said[0]


def test_where_no_certificate_can_be_kept_files_are_signed_with_one_of_this_run(generated, tmp_path, monkeypatch):
    pytest.importorskip("c2pa", reason=f"signing needs {signing.INSTALL}")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    said = []
    signing.sign(generated, signing.signer(say=said.append), ("photo",))
    assert verification.verify(generated).state == State.SIGNED
    (sentence,) = said
    assert "cannot be kept there (Not a directory)" in sentence
    assert sentence.endswith("; the file is signed with a certificate of this run alone")


def test_without_a_home_folder_files_are_signed_with_one_of_this_run(generated, monkeypatch):
    pytest.importorskip("c2pa", reason=f"signing needs {signing.INSTALL}")

    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    said = []
    signing.sign(generated, signing.signer(say=said.append), ("photo",))
    assert verification.verify(generated).state == State.SIGNED
    assert "set XDG_CONFIG_HOME" in said[0]


def test_a_given_certificate_signs(generated, signer, home, tmp_path, monkeypatch):
    own = (home / "davs_jax" / "signing.pem").read_bytes()
    key, _, chain = own.partition(b"-----BEGIN CERTIFICATE")
    (tmp_path / "cert.pem").write_bytes(b"-----BEGIN CERTIFICATE" + chain)
    (tmp_path / "key.pem").write_bytes(key)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    given = signing.signer(tmp_path / "cert.pem", tmp_path / "key.pem")
    signing.sign(generated, given, ("photo",))
    assert verification.verify(generated).state == State.SIGNED
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
        (alone, foreign, r"alone\.pem: C2PA rejects this certificate"),
        (own, None, "go together"),
    ):
        with pytest.raises(ProvenanceError, match=message) as raised:
            signing.signer(certificate, key)
        assert "\n" not in str(raised.value)


@pytest.fixture
def without_the_extra(monkeypatch):
    for name in ("c2pa", "davs_jax.provenance.certificates"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("davs_jax.provenance.certificates", raising=False)


def test_without_the_extra_the_check_says_how_to_get_it(without_the_extra, generated, capsys):
    with pytest.raises(SystemExit) as stopped:
        generate.main(["--verify", str(generated)])
    assert stopped.value.code == 1
    assert signing.INSTALL in capsys.readouterr().err


def test_without_the_extra_files_have_plain_tags_and_the_user_is_told(without_the_extra, generated):
    said, before = [], generated.read_bytes()
    signer = signing.signer(say=said.append)
    signing.sign(generated, signer, ("photo",))
    assert generated.read_bytes() == before
    assert len(said) == 1
    assert signing.INSTALL in said[0]
    with pytest.raises(ProvenanceError, match="pip install"):
        signing.signer(generated, generated)


@pytest.mark.parametrize("damage", [False, True])
def test_the_command_reports_in_sentences_and_by_its_exit_status(generated, signer, capsys, damage):
    signing.sign(generated, signer, ("photo",))
    if damage:
        flipped(generated, len(generated.read_bytes()) - 100)
    with pytest.raises(SystemExit) as stopped:
        generate.main(["--verify", str(generated)])
    assert stopped.value.code == (3 if damage else 0)
    assert ("do not rely on it" if damage else "Nothing was altered") in capsys.readouterr().out
