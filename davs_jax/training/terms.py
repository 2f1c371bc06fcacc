"""The terms of the generator player's loss: which networks each moves, and its adversary (`losses` computes them)."""

from typing import NamedTuple

import jax

Key = tuple[str, str]  # (term, part): of a loss that is computed
Terms = dict[Key, jax.Array]
Metrics = dict[str, jax.Array]

MODALITIES = ("audio", "video")
HEADS = ("patch", "match")  # of the sequence and frame discriminators
WHOLE = ("",)


class Term(NamedTuple):
    """A term of the generator player's loss.

    Attributes:
      moves: networks that receive its gradient (where the stage trains them).
      uses: further networks that it needs.
      adversary: network of the discriminator player that it needs, or None.
      needs: modalities without which it has no meaning.
      parts: it is the sum of these, each logged under its own name: of each modality that the stage has, of each head
        of the discriminator, or one number.
    """

    moves: tuple[str, ...]
    uses: tuple[str, ...] = ()
    adversary: str | None = None
    needs: frozenset[str] = frozenset()
    parts: tuple[str, ...] = WHOLE


ENCODERS = {"audio": "audio_encoder", "video": "visual_encoder"}  # by modality
WORDS = ("visual_encoder", "audio_encoder")
BOTH = frozenset(MODALITIES)
GENERATION = ("person_encoder", *WORDS, "decoder")

TERMS = {
    "person_ce": Term(("person_encoder", "person_classifier")),
    "word_ce": Term((*WORDS, "word_classifier"), parts=MODALITIES),
    "contrastive": Term(WORDS, needs=BOTH),
    "modality": Term(WORDS, adversary="modality_discriminator", needs=BOTH, parts=MODALITIES),
    "pid_uniform": Term(("person_encoder",), adversary="word_adversary"),
    "wid_uniform": Term(("visual_encoder",), adversary="person_adversary", needs=frozenset({"video"})),
    "l1": Term(GENERATION, parts=MODALITIES),
    "mouth": Term(GENERATION, parts=MODALITIES),
    "mouth_l2": Term(GENERATION, parts=MODALITIES),
    "warp": Term(GENERATION, parts=MODALITIES),
    "temporal": Term(
        ("person_encoder", "audio_encoder", "decoder"), uses=("visual_encoder",), needs=frozenset({"audio"})
    ),
    "gan_sequence": Term(GENERATION, adversary="sequence_discriminator", parts=HEADS),
    "gan_frame": Term(GENERATION, adversary="frame_discriminator", parts=HEADS),
    "sync_expert": Term(
        ("person_encoder", "audio_encoder", "decoder"), uses=("visual_encoder", "syncnet"), needs=frozenset({"audio"})
    ),
    "sync": Term(("syncnet",)),
}
WORD_TERMS = frozenset({"word_ce", "contrastive", "modality"})
GENERATION_TERMS = frozenset(
    {"l1", "mouth", "mouth_l2", "warp", "temporal", "gan_sequence", "gan_frame", "sync_expert"}
)
FACE_TERMS = frozenset({"person_ce", "wid_uniform"})


def full_name(key: Key) -> str:
    """The name of a term's part in the metrics: `("word_ce", "audio")` → `word_ce_audio`."""
    return "_".join(filter(None, key))
