"""Signing certificates: a given one, or one made once for the user and kept in a file that only they can read.

Needs the extra `provenance`; callers import this module only where it is installed.
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

from davs_jax.provenance.errors import CannotKeep, CertificateError

# A signature without a time stamp from a third party holds for as long as its certificate does.
YEARS = 30
ALGORITHM = "ES256"  # of self-made certificates
CURVES = {"secp256r1": ALGORITHM, "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True)
class Credential:
    """A certificate and its key.

    Attributes:
      chain: PEM of the certificate, then of those above it.
      key: PEM of its private key.
      algorithm: COSE name of the signature algorithm, e.g. ES256.
    """

    chain: bytes
    key: bytes
    algorithm: str


def kept() -> Path:
    """Where the user's self-made certificate and its key are kept.

    Raises:
      CannotKeep: the user has no home folder.
    """
    try:
        folder = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    except RuntimeError as error:
        raise CannotKeep("a certificate cannot be kept without a home folder", "set XDG_CONFIG_HOME") from error
    return Path(folder) / "davs_jax" / "signing.pem"


def load(certificate: Path, key: Path) -> Credential:
    """Reads a certificate with its chain, and its key: PEM files, or one file with the key first.

    Raises:
      CertificateError: a file is missing or invalid, or the two do not belong together.
    """
    chain = _parsed(certificate, x509.load_pem_x509_certificates, "a PEM certificate, followed by those that issued it")
    private = _parsed(
        key, lambda data: serialization.load_pem_private_key(data, None), "a PEM private key without a password"
    )
    if isinstance(private, ec.EllipticCurvePrivateKey):
        algorithm = CURVES.get(private.curve.name)
    else:
        kinds = ((ed25519.Ed25519PrivateKey, "ED25519"), (rsa.RSAPrivateKey, "PS256"))
        algorithm = next((name for kind, name in kinds if isinstance(private, kind)), None)
    if algorithm is None:
        raise CertificateError(f"{key}: C2PA has no such keys", "give one of P-256, P-384, P-521, Ed25519 or RSA")
    if chain[0].public_key() != private.public_key():
        raise CertificateError(f"{key}: is not the key of {certificate}", "give the two that belong together")
    return Credential(b"".join(map(_pem, chain)), _private_pem(private), algorithm)


def own() -> tuple[Credential, bool]:
    """The user's self-made certificate, and whether it was made just now.

    Raises:
      CannotKeep: there is none yet, and a new one cannot be kept.
      CertificateError: the kept one is damaged.
    """
    path = kept()
    try:
        if made := not path.exists():
            _keep(path, _make())
    except OSError as error:
        raise CannotKeep(f"{path}: a certificate cannot be kept there ({error.strerror})") from error
    return load(path, path), made


def temporary() -> Credential:
    """A self-made certificate that is kept nowhere."""
    data = _make()
    key = serialization.load_pem_private_key(data, None)
    return Credential(b"".join(map(_pem, x509.load_pem_x509_certificates(data))), _private_pem(key), ALGORITHM)


def _keep(path: Path, data: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all; an existing file is left alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, part = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        with contextlib.suppress(FileExistsError):  # another process was first: its certificate is kept
            os.link(part, path)
    finally:
        os.unlink(part)


def _make() -> bytes:
    """PEM of a key, its certificate, and that of the authority that signed it: C2PA rejects self-signed certificates.

    The authority's key is discarded, so nobody can make a second certificate of this name. The name is random: it does
    not identify the user, but shows that two files signed with it come from the same one.
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
        raise CertificateError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path}: cannot be read as {wanted}") from error
