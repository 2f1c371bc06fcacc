"""A stage of training, resolved once from its config: everything is checked, typed and found by name."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import ModuleType

import jax
import optax
from ml_collections import FrozenConfigDict

from davs_jax import models, systems
from davs_jax.constants import FACE_KEYS
from davs_jax.errors import ConfigError
from davs_jax.models.layers import CONVOLUTION
from davs_jax.training import checks, losses
from davs_jax.training.optimizer import make_optimizers
from davs_jax.training.terms import BOTH, ENCODERS, Key, Term

Array = jax.Array
Terms = Mapping[str, Term]

# `config.remat`: what of a network's forward is kept for the backward pass, and what is recomputed.
REMAT = {
    "none": lambda apply: apply,
    "activations": functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.save_only_these_names(CONVOLUTION)),
    "all": jax.checkpoint,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """Which networks train, on which terms, on what batch; made by `from_config`.

    Attributes:
      system: the part `training` of the system that is trained (`davs_jax.systems`).
      seed: of the first weights and of every step's randomness.
      model: `config.model`: the sizes of the networks.
      modules: the networks that the stage uses, by name.
      trained: networks of the generator player.
      adversaries: networks of the discriminator player.
      modalities: `audio`, `video` or both: from which words are read and frames are generated.
      weights: of the generator player's terms, by (term, part); all are above 0.
      batch: exactly the arrays that the step reads, by key (docs/architecture.md lists them).
      optimizers: by player, `generator` and `discriminator`.
      remat: by network, wraps its forward to choose what the backward pass recomputes.
      contrastive: (wid_video, wid_audio) `[B, T, E]` → loss.
      tcp: clips without a word are classes of their own in the word loss.
      label_softness: the discriminators' labels are softened by up to this much.
      wid_gradient: scale of the image losses' gradient at the word vectors.
      ema_decay: of the averaged weights; 0 is none.
      official_grouping: batch norm sees one call of the official code at a time, not all frames.
      accumulate: parts in which a step reads its batch.
    """

    system: ModuleType
    seed: int
    model: FrozenConfigDict
    modules: Mapping[str, models.Module]
    trained: tuple[str, ...]
    adversaries: tuple[str, ...]
    modalities: tuple[str, ...]
    weights: Mapping[Key, float]
    batch: Mapping[str, jax.ShapeDtypeStruct]
    optimizers: Mapping[str, optax.GradientTransformation]
    remat: Mapping[str, Callable]
    contrastive: Callable[[Array, Array], Array]
    tcp: bool
    label_softness: float
    wid_gradient: float
    ema_decay: float
    official_grouping: bool
    accumulate: int

    @classmethod
    def from_config(cls, config) -> "Stage":
        """Resolves a config of `configs/common.py`.

        Raises:
          ConfigError: an invalid value, or values that contradict each other; the message names key and value, and says
            what is allowed.
        """
        checks.check(config, tuple(REMAT))
        modules = models.build(config.model)
        system = systems.part(config.model.system, "training")
        modalities = _modalities(config)
        active = _active_terms(config, system.TERMS, modalities)
        terms = {name: term for name, term in system.TERMS.items() if name in active}
        trained = _trained(config, system.TERMS, terms, modalities)
        adversaries = tuple(dict.fromkeys(term.adversary for term in terms.values() if term.adversary))
        used = _networks(terms, modalities, frozen=True) | set(adversaries)
        system.check(config, active)
        return cls(
            system=system,
            seed=config.seed,
            model=FrozenConfigDict(config.model),
            modules={name: module for name, module in modules.items() if name in used},
            trained=trained,
            adversaries=adversaries,
            modalities=modalities,
            weights=_weights(config, terms, modalities),
            batch=system.batch(config, active, modalities),
            optimizers=make_optimizers(config.optim, config.steps),
            remat=_remat(config, modules),
            contrastive=functools.partial(losses.CONTRASTIVE[config.contrastive], margin=config.margin),
            tcp=config.tcp and "word_ce" in active,
            label_softness=config.label_softness,
            wid_gradient=config.wid_gradient,
            ema_decay=config.optim.ema_decay,
            official_grouping=config.bn_grouping == "official",
            accumulate=config.accumulate,
        )

    @property
    def terms(self) -> frozenset[str]:
        """Names of the active terms: those whose weight is above 0. Only these are computed."""
        return frozenset(term for term, _ in self.weights)

    @property
    def networks(self) -> tuple[str, ...]:
        """All networks of the stage: trained, frozen and adversaries."""
        return tuple(self.modules)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Networks that run with their running statistics and are not updated."""
        return tuple(name for name in self.modules if name not in self.trained + self.adversaries)

    def role(self, network: str) -> str:
        """`adversary`, `trained` or `frozen`."""
        return "adversary" if network in self.adversaries else "trained" if network in self.trained else "frozen"

    @property
    def reads_clips(self) -> bool:
        """False where the stage reads identity images alone."""
        return not self.batch.keys() <= FACE_KEYS

    @property
    def examples(self) -> int:
        """Clips of a batch; identity images where the stage reads no clips."""
        return next(iter(self.batch.values())).shape[0]


def _modalities(config) -> tuple[str, ...]:
    given = tuple(config.modalities)
    if not given or set(given) - BOTH:
        raise ConfigError(f"config.modalities is {given}", "it holds 'audio', 'video' or both")
    return given


def _active_terms(config, known: Terms, modalities: tuple[str, ...]) -> set[str]:
    for name, weight in config.loss.items():
        if name not in known:
            raise ConfigError(f"config.loss names {name!r}", f"the terms are {', '.join(known)}")
        if not weight >= 0:
            raise ConfigError(f"config.loss.{name} is {weight}", "a weight is 0 (off) or above")
    active = {name for name, weight in config.loss.items() if weight > 0}
    if not active:
        raise ConfigError("every weight in config.loss is 0: there is nothing to train", "set at least one above 0")
    for name in sorted(active):
        if missing := known[name].needs - set(modalities):
            raise ConfigError(
                f"config.loss.{name} is above 0 but needs {sorted(missing)}, which config.modalities lacks",
                "set it to 0",
            )
    return active


def _networks(terms: Terms, modalities: tuple[str, ...], frozen: bool = False) -> set[str]:
    """Networks that these terms move, and with `frozen` use, without the encoders of absent modalities."""
    absent = {encoder for modality, encoder in ENCODERS.items() if modality not in modalities}
    return {name for term in terms.values() for name in (*term.moves, *(term.uses if frozen else ()))} - absent


def _remat(config, modules: Mapping[str, models.Module]) -> dict[str, Callable]:
    if unknown := sorted(set(config.remat) - set(modules)):
        raise ConfigError(f"config.remat names {unknown[0]!r}", f"the networks are {', '.join(modules)}")
    return {name: REMAT[config.remat.get(name, "none")] for name in modules}


def _trained(config, known: Terms, active: Terms, modalities: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := set(config.trained) - {name for term in known.values() for name in term.moves}:
        raise ConfigError(f"config.trained names {sorted(unknown)}, which are not networks of the generator player")
    moved = _networks(active, modalities)
    if idle := [name for name in config.trained if name not in moved]:
        raise ConfigError(f"config.trained names {idle}, but no term with a weight above 0 moves them")
    return tuple(config.trained)


def _weights(config, terms: Terms, modalities: tuple[str, ...]) -> dict[Key, float]:
    """Weight of every part of every active term; those of the uniformity terms multiply the stated rule."""
    classes = {"pid_uniform": "num_words", "wid_uniform": "num_identities"}
    absent, weights = BOTH - set(modalities), {}
    for name, term in terms.items():
        weight = config.loss[name]
        if key := classes.get(name):
            if (count := config.model[key]) < 2:
                raise ConfigError(f"config.model.{key} is {count}, but config.loss.{name} needs at least 2 classes")
            weight *= losses.uniformity_weight(count)
        weights |= {(name, part): weight for part in term.parts if part not in absent}
    return weights
