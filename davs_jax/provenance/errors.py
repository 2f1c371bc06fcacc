"""Errors of signing and verification; they need no extra."""

from davs_jax.errors import DavsError


class ProvenanceError(DavsError):
    """A file that cannot be signed or verified."""


class CertificateError(ProvenanceError):
    """A certificate or key that cannot be used."""


class CannotKeep(CertificateError):
    """There is no place where the user's own certificate can be kept."""
