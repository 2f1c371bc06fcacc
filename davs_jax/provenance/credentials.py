"""What a generated file says of its origin: plain tags always, a signed C2PA manifest where the extra is installed.

    python -m davs_jax.generate --verify talking.mp4

Everything happens offline: no time stamp is fetched, no certificate looked up.
"""

import argparse
import contextlib
import enum
import io
import json
import mimetypes
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from davs_jax import __version__
from davs_jax.errors import DavsError
from davs_jax.media.video.streams import MediaError, opened

INSTALL = "pip install 'davs_jax[provenance]'"
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
METADATA = {
    "comment": "AI-generated: the face in this video was synthesised from one photo by DAVS (davs_jax).",
    "digital_source_type": GENERATED,
}
SIGNS = ("AI-generated", "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


class ProvenanceError(DavsError):
    """A file cannot be signed or checked; the message says what to do."""


class State(enum.IntEnum):
    """What a check found; the value is the exit status of `--verify`."""

    SIGNED = 0  # and nothing was altered since
    ALTERED = 3  # since it was signed; or it is damaged
    UNSIGNED = 4  # but plain tags say that it is generated
    SILENT = 5  # nothing is said


class Finding(NamedTuple):
    """What a file claims and whether it was altered, `text` in plain sentences, one a line."""

    state: State
    text: str


def signer(certificate: Path | None = None, key: Path | None = None, say: Callable[[str], None] = print):
    """What `sign` signs with, tried on a small picture, so that hours of work do not end in a certificate's trouble.

    Args:
      certificate: PEM, its own before those above it; the user's self-made one if not given.
      key: PEM, its private key.
      say: is told why files will not be signed, or that a certificate was made.

    Returns:
      a `c2pa.Signer`, or None: without the extra, or a place to keep a certificate, files have plain tags only.

    Raises:
      ProvenanceError: what was given cannot sign.
    """
    if (certificate is None) != (key is None):
        raise ProvenanceError("--certificate and --key go together; give both, or neither for a self-made one")
    try:
        import c2pa

        from davs_jax.provenance import certificates
    except ImportError as error:
        if certificate is not None:
            raise ProvenanceError(f"--certificate needs what signs: {INSTALL}") from error
        say(f"the file says that it is generated in plain tags only; to have it signed too: {INSTALL}")
        return None
    try:
        if certificate is not None:
            credential = certificates.load(certificate, key)
        else:
            credential, made = certificates.own()
            if made:
                say(f"made a certificate to sign with, private to you: {certificates.kept()}")
    except certificates.CertificateError as error:
        if certificate is not None or certificates.kept().exists():
            raise ProvenanceError(str(error)) from error
        say(f"the file says that it is generated in plain tags only, for {error}")
        return None
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    try:
        algorithm = getattr(c2pa.C2paSigningAlg, credential.algorithm)
        made_of = {"sign_cert": credential.chain, "private_key": credential.key, "ta_url": None}
        found = c2pa.Signer.from_info(c2pa.C2paSignerInfo(alg=algorithm, **made_of))
        _sign(found, "image/png", picture, io.BytesIO(), ())
    except c2pa.C2paError as error:
        raise ProvenanceError(
            f"{certificate or certificates.kept()}: C2PA does not take this certificate ({error}); it must not be "
            "self-signed nor an authority's, and be made for signing (digitalSignature, emailProtection)"
        ) from error
    return found


def sign(path: Path, signed_by, ingredients: Sequence[str]) -> None:
    """Adds a signed manifest to a finished file (mp4, GIF, PNG), or to each in a folder.

    Args:
      signed_by: what `signer` gave; None leaves the file as it is.
      ingredients: what it was made of, in words ("photo", "speech"): file names are nobody's business.

    Raises:
      ProvenanceError: the file cannot be signed; it stays as it was.
    """
    if signed_by is None:
        return
    if path.is_dir():
        for file in sorted(path.iterdir()):
            sign(file, signed_by, ingredients)
        return
    import c2pa

    part = None
    try:
        with tempfile.NamedTemporaryFile("w+b", dir=path.parent, delete=False) as target, path.open("rb") as source:
            part = target.name
            _sign(signed_by, mimetypes.guess_type(path.name)[0], source, target, ingredients)
        shutil.copymode(path, part)
        os.replace(part, path)
    except (OSError, c2pa.C2paError) as error:
        raise ProvenanceError(
            f"{path}: is finished, but could not be signed ({error}); make room on its disk and run again"
        ) from error
    finally:
        if part and os.path.exists(part):
            os.unlink(part)


def _sign(signed_by, kind: str, source, target, ingredients: Sequence[str]) -> None:
    import c2pa

    program = {"name": "davs_jax", "version": __version__}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": GENERATED,
        "softwareAgent": program,
        "parameters": {"ingredientIds": list(ingredients)},
    }
    manifest = {
        "claim_generator_info": [program],
        "title": "talking face",
        "format": kind,
        "ingredients": [{"title": word, "label": word, "relationship": "inputTo"} for word in ingredients],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}],
    }
    source.seek(0)
    with c2pa.Context.from_dict(SETTINGS) as context, c2pa.Builder(json.dumps(manifest), context) as builder:
        builder.sign(signed_by, kind, source, target)


def verify(path: Path) -> Finding:
    """Reads what a file claims, and checks its signature where it has one.

    Raises:
      ProvenanceError: the file cannot be read, or the extra is not installed.
    """
    try:
        import c2pa

        from davs_jax.provenance import certificates
    except ImportError as error:
        raise ProvenanceError(f"--verify needs what checks signatures: {INSTALL}") from error
    settings = dict(SETTINGS)
    with contextlib.suppress(ValueError):  # where this user never signed anything
        own = certificates.load(certificates.kept(), certificates.kept())
        settings["trust"] = {"user_anchors": own.chain.decode()}
    try:
        with (
            path.open("rb") as file,
            c2pa.Context.from_dict(settings) as context,
            # The kind of a file is seen in its bytes, whatever its name; this one only stands for "look".
            c2pa.Reader("application/octet-stream", file, context=context) as reader,
        ):
            return _judged(path, json.loads(reader.json()))
    except IsADirectoryError as error:
        raise ProvenanceError(f"{path}: is a folder; name a file in it") from error
    except OSError as error:
        raise ProvenanceError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return _unsigned(path)
    except c2pa.C2paError as error:
        if not _holds(path, b"c2pa"):  # damaged, but never signed
            return _unsigned(path)
        text = f"{path}: the file is damaged, or the signed claim in it is ({_line(error)})."
        return Finding(State.ALTERED, f"{text}\nRely on nothing that it says.")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ProvenanceError(f"{path}: holds a signed claim of a form that this program does not know") from error


def _line(words: object) -> str:
    """Somebody else's words, as one line that cannot pass for ours nor move the cursor of a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in str(words)).strip()[:200]


def _holds(path: Path, word: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(word) >= 0


def _judged(path: Path, store: dict) -> Finding:
    """A finding from c2pa's own report, a "manifest store" in JSON."""
    manifest = store["manifests"][store["active_manifest"]]
    claim = _claim(manifest)
    if store["validation_state"] not in ("Valid", "Trusted"):
        failures = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
        why = "; ".join(_line(f["explanation"]) for f in failures if f["code"] != "signingCredential.untrusted")
        text = f"{path}: carries a signed claim {claim}.\nBut it was altered after it was signed "
        return Finding(State.ALTERED, f"{text}({why or 'the signature does not hold'}): do not rely on it.")
    who = manifest.get("signature_info", {})
    name = " of ".join(f'"{_line(who[k])}"' for k in ("common_name", "issuer") if k in who) or "without a name"
    if store["validation_state"] == "Trusted":
        own = store["validation_results"].get("trustListUri") == "user_anchors"
        trust = "your own, made and kept on this computer" if own else "known to C2PA's trust list"
    else:
        trust = "not one that anybody vouches for, so the signature proves that the file is unaltered, not who made it"
    text = f"{path}: is signed and says {claim}.\nNothing was altered since it was signed.\n"
    return Finding(State.SIGNED, f"{text}The certificate, {name}, is {trust}.")


def _claim(manifest: dict) -> str:
    """What a manifest says, as the end of a sentence."""
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]
    sources = [action.get("digitalSourceType", "").rsplit("/", 1)[-1] for action in actions]
    generated = any(source.endswith(SIGNS) for source in sources)
    what = "that it is AI-generated" if generated else "nothing about being AI-generated"
    programs = [_line(f"{p['name']} {p.get('version', '')}") for p in manifest.get("claim_generator_info", [])]
    parts = [_line(i["title"]) for i in manifest.get("ingredients", []) if i.get("title")]
    return (
        what
        + (f", by {', '.join(programs)}" if programs else "")
        + (f", from these parts: {', '.join(parts)}" if parts else "")
    )


def _unsigned(path: Path) -> Finding:
    for text in _plain_tags(path):
        if any(sign in text for sign in SIGNS):
            return Finding(
                State.UNSIGNED,
                f'{path}: says in a plain tag that it is AI-generated: "{_line(text)}"\n'
                "It is not signed: whether it was altered cannot be told, and anybody can write or remove such a tag.",
            )
    return Finding(
        State.SILENT, f"{path}: says nothing of its origin. That proves nothing: what a file says is easily removed."
    )


def _plain_tags(path: Path) -> list[str]:
    try:
        with Image.open(path) as image:
            texts = list(image.info.values())
    except Exception:  # Pillow's readers raise whatever they like on a damaged file; it is no picture, then
        try:
            with opened(path) as container:
                texts = list(container.metadata.values())
        except MediaError:
            texts = []
    return [t if isinstance(t, str) else t.decode(errors="replace") for t in texts if isinstance(t, str | bytes)]


class Verify(argparse.Action):
    """`--verify FILE` on a command line: like `--help` it needs no other argument, and ends the program."""

    HELP = (
        "tell what FILE claims of its origin and whether it was altered; needs nothing else (exit status: {})".format(
            ", ".join(f"{state.value} {state.name.lower()}" for state in State)
        )
    )

    def __call__(self, parser, namespace, values, option_string=None):
        try:
            finding = verify(Path(values))
        except ProvenanceError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        print(finding.text)
        parser.exit(finding.state)
