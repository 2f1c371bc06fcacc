"""Who signs: a given certificate, or one that is made once for the user and kept in a file that only they can read.

Needs the extra `provenance`; whoever imports this has made sure of it (`provenance.signer`).
"""

import contextlib
import os
import secrets
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A signature without a time stamp from a third party holds for as long as its certificate does.
YEARS = 30
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class CertificateError(ValueError):
    """A certificate or its key cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Credential:
    """What signs.

    Attributes:
      chain: PEM of the certificate, then of those above it.
      key: PEM of its private key.
      algorithm: COSE's name for the signature, e.g. ES256.
    """

    chain: bytes
    key: bytes
    algorithm: str


def kept() -> Path:
    """Where the user's self-made certificate and its key are kept.

    Raises:
      CertificateError: the user has no home folder.
    """
    try:
        folder = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    except RuntimeError as error:
        raise CertificateError("there is no home folder to keep a certificate in; set XDG_CONFIG_HOME") from error
    return Path(folder) / "davs_jax" / "signing.pem"


def load(certificate: Path, key: Path) -> Credential:
    """Reads a certificate with its chain, and its key; both PEM, and maybe in one file, the key first.

    Raises:
      CertificateError: a file is missing or is not what it should be, or the two do not belong together.
    """
    chain = _parsed(certificate, x509.load_pem_x509_certificates, "a PEM certificate, its own before those above it")
    private = _parsed(
        key, lambda data: serialization.load_pem_private_key(data, None), "a PEM private key without a password"
    )
    if isinstance(private, ec.EllipticCurvePrivateKey):
        algorithm = CURVES.get(private.curve.name)
    else:
        kinds = ((ed25519.Ed25519PrivateKey, "ED25519"), (rsa.RSAPrivateKey, "PS256"))
        algorithm = next((name for kind, name in kinds if isinstance(private, kind)), None)
    if algorithm is None:
        raise CertificateError(f"{key}: C2PA knows no such key; give one of P-256, P-384, P-521, Ed25519 or RSA")
    if chain[0].public_key() != private.public_key():
        raise CertificateError(f"{key}: is not the key of {certificate}; give the two that belong together")
    return Credential(b"".join(map(_pem, chain)), _private_pem(private), algorithm)


def own() -> tuple[Credential, bool]:
    """The user's self-made certificate, and whether it was made just now.

    Raises:
      CertificateError: it cannot be kept, or the kept one is damaged.
    """
    path = kept()
    made = not path.exists()
    if made:
        try:
            _keep(path, _make())
        except OSError as error:
            raise CertificateError(f"{path}: a certificate cannot be kept there ({error.strerror})") from error
    return load(path, path), made


def _keep(path: Path, data: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all; one that appeared meanwhile is left alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, part = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        with contextlib.suppress(FileExistsError):  # another process was first: its certificate is the one
            os.link(part, path)
    finally:
        os.unlink(part)


def _make() -> bytes:
    """A key, its certificate, and that of the authority which signs it: C2PA takes none that signed itself.

    The authority's key is forgotten, so nobody can make a second certificate of this name. The name is random: it
    says nothing of the user, but two files signed with it can be seen to come from one.
    """
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = f"davs_jax user {secrets.token_hex(4)}"
    top = _certificate(f"{name}, authority", authority, f"{name}, authority", authority, True)
    leaf = _certificate(name, key, f"{name}, authority", authority, False)
    return _private_pem(key) + _pem(leaf) + _pem(top)


def _certificate(subject: str, key, issuer: str, issuer_key, authority: bool) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:  # the purpose that C2PA asks for in a signer's certificate
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "self-made certificate of davs_jax")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key) -> bytes:
    unlocked = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)


def _parsed(path: Path, parse, wanted: str):
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path}: is not what is needed here, {wanted}") from error
