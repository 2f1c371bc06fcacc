"""Verification: what a file says about its origin, and whether it was altered since it was signed.

    python -m davs_jax.generate --verify talking.mp4

Everything happens offline: no certificate is looked up.
"""

import argparse
import contextlib
import enum
import json
import mmap
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from davs_jax.errors import MediaError
from davs_jax.media.video.streams import opened
from davs_jax.provenance.errors import CertificateError, ProvenanceError
from davs_jax.provenance.signing import INSTALL, SETTINGS

SIGNS = ("AI-generated", "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")


class State(enum.IntEnum):
    """The result of a verification; the value is the exit status of `--verify`."""

    SIGNED = 0  # and not altered since
    ALTERED = 3  # since it was signed, or damaged
    UNSIGNED = 4  # but plain tags say that it is AI-generated
    SILENT = 5  # the file says nothing about its origin


class Finding(NamedTuple):
    """What a file claims and whether it was altered; `text` has one sentence per line."""

    state: State
    text: str


def verify(path: Path) -> Finding:
    """Reads what a file claims, and verifies its signature where it has one.

    Raises:
      ProvenanceError: the file cannot be read, its claim has an unknown form, or the extra is not installed.
    """
    try:
        import c2pa

        from davs_jax.provenance import certificates
    except ImportError as error:
        raise ProvenanceError("the packages that verify signatures are not installed", INSTALL) from error
    settings = dict(SETTINGS)
    with contextlib.suppress(CertificateError):  # this user never signed anything
        own = certificates.load(certificates.kept(), certificates.kept())
        settings["trust"] = {"user_anchors": own.chain.decode()}
    try:
        with (
            path.open("rb") as file,
            c2pa.Context.from_dict(settings) as context,
            # This MIME type makes c2pa detect the format from the bytes, whatever the file's name.
            c2pa.Reader("application/octet-stream", file, context=context) as reader,
        ):
            return _finding(path, json.loads(reader.json()))
    except IsADirectoryError as error:
        raise ProvenanceError(f"{path}: is a folder", "name a file in it") from error
    except OSError as error:
        raise ProvenanceError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return _unsigned(path)
    except c2pa.C2paError as error:
        if not _holds(path, b"c2pa"):  # damaged, but never signed
            return _unsigned(path)
        text = f"{path}: the file is damaged, or its signed claim is ({_line(error)})."
        return Finding(State.ALTERED, f"{text}\nDo not rely on what it says.")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ProvenanceError(f"{path}: holds a signed claim of an unknown form") from error


def _line(words: object) -> str:
    """Foreign text as one line without control characters, so that it cannot imitate a line of ours."""
    return "".join(letter if letter.isprintable() else " " for letter in str(words)).strip()[:200]


def _holds(path: Path, word: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(word) >= 0


def _finding(path: Path, store: dict) -> Finding:
    """A finding from c2pa's report, a "manifest store"."""
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
        trust = "your own, made and kept on this computer" if own else "on C2PA's trust list"
    else:
        trust = "not on any trust list, so the signature proves that the file is unaltered, not who made it"
    text = f"{path}: is signed and says {claim}.\nNothing was altered since it was signed.\n"
    return Finding(State.SIGNED, f"{text}The certificate, {name}, is {trust}.")


def _claim(manifest: dict) -> str:
    """What a manifest says, to follow "says" in a sentence."""
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
        + (f", made from: {', '.join(parts)}" if parts else "")
    )


def _unsigned(path: Path) -> Finding:
    for text in _plain_tags(path):
        if any(sign in text for sign in SIGNS):
            return Finding(
                State.UNSIGNED,
                f'{path}: says in a plain tag that it is AI-generated: "{_line(text)}"\n'
                "It is not signed, so alterations cannot be detected, and anybody can add or remove such a tag.",
            )
    return Finding(
        State.SILENT, f"{path}: says nothing about its origin. That proves nothing: such claims are easily removed."
    )


def _plain_tags(path: Path) -> list[str]:
    try:
        with Image.open(path) as image:
            texts = list(image.info.values())
    except Exception:  # Pillow's readers raise any exception on a damaged file; then it is not an image
        try:
            with opened(path) as container:
                texts = list(container.metadata.values())
        except MediaError:
            texts = []
    return [t if isinstance(t, str) else t.decode(errors="replace") for t in texts if isinstance(t, str | bytes)]


class Verify(argparse.Action):
    """`--verify FILE` on a command line: like `--help` it needs no other argument and ends the program."""

    HELP = "report what FILE says about its origin and whether it was altered; needs no other option (exit status: "
    HELP += ", ".join(f"{state.value} {state.name.lower()}" for state in State) + ")"

    def __call__(self, parser, namespace, values, option_string=None):
        try:
            finding = verify(Path(values))
        except ProvenanceError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        print(finding.text)
        parser.exit(finding.state)
