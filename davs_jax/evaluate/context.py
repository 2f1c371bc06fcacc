"""What the parts of an evaluation share: the model, the clips, and what is computed once and used by several parts."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import jax
import numpy as np
from ml_collections import ConfigDict

from davs_jax import systems
from davs_jax.data.pipeline import eval_batches
from davs_jax.data.sources import ClipSource, FaceSource, has_split, open_clips
from davs_jax.display.progress import progress
from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import fusion, generated, metrics, mouth_opening, recognition
from davs_jax.evaluate.generated import Generated
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.evaluate.perceptual import PerceptualMetrics
from davs_jax.evaluate.recognition import Vectors
from davs_jax.evaluate.sections import Figures, Fusion
from davs_jax.inference import Davs
from davs_jax.models.initialization import fresh_weights
from davs_jax.parallel import sharding
from davs_jax.talker import Talker

BATCH = 16  # clips
VALIDATION, FITTED_ON = "val", 2000  # the split, and the most clips of it, on which the weights of logits are fitted


@dataclass(frozen=True)
class Context:
    """One evaluation's inputs and shared results.

    Attributes:
      count: number of clips that are counted, the first ones of the source.
      faces: identity images, for the person probes of corpora with unknown speakers.
      seed: of bootstrap, folds and fresh weights.
      scorer: SyncNet with its weights.
      distances: LPIPS and FID with their networks' weights.
      judge: another model, whose encoders compare identities and read the generated frames; None is the model itself.
      control: figures of another model on the same clips, to show beside the probes.
      left_out: by name, why a part could not be measured.
    """

    model: Talker
    source: ClipSource
    count: int
    faces: FaceSource | None = None
    seed: int = 0
    scorer: Scorer | None = None
    distances: PerceptualMetrics | None = None
    control: Figures | None = None
    judge: Davs | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def both_encoders(self) -> bool:
        return self.model.has("visual_encoder", "audio_encoder")

    @property
    def generates(self) -> bool:
        """Whether the weights generate frames from speech."""
        return not self.model.missing("audio_encoder")

    @property
    def reads(self) -> bool:
        """Whether the weights have a word encoder."""
        return self.model.has("visual_encoder") or self.model.has("audio_encoder")

    def batches(self) -> Iterator[dict]:
        """The counted clips, as `data.eval_batches`; clips beyond the first `count` are masked out."""
        batches = eval_batches(self.source, BATCH, audio=self.model.clip_audio)
        for batch in itertools.takewhile(lambda batch: batch["index"][0] < self.count, batches):
            yield {**batch, "mask": batch["mask"] & (batch["index"] < self.count)}

    def batches_with_progress(self, what: str) -> Iterator[dict]:
        return progress(self.batches(), total=-(-self.count // BATCH), desc=what, unit="batch")

    @functools.cached_property
    def untrained(self) -> Talker:
        return untrained(self.model, self.seed)

    @functools.cached_property
    def vectors(self) -> Vectors:
        """The labels of all counted clips, and their vectors by the word encoders that there are.

        Raises:
          RuntimeError: a clip was missed or counted twice.
        """
        batches, persons = self.batches_with_progress("reading"), self.model.has("person_encoder")
        vectors = recognition.encode(self.model, batches, persons, every_frame=self.both_encoders)
        self._check_count(vectors.index)
        return vectors

    @property
    def people(self) -> np.ndarray | None:
        """The groups that intervals resample, `[N]`; None for single clips."""
        return self.vectors.people if self.reads or self.generates else None

    @functools.cached_property
    def logits(self) -> dict[str, np.ndarray]:
        """Word logits by modality; needs the word classifier."""
        return recognition.logits(self.model, self.vectors)

    @functools.cached_property
    def fusion_weights(self) -> Fusion:
        """The weights of the two modalities' logits, fitted on the validation split; needs both word encoders.

        Raises:
          NotMeasurable: there is no other split to fit them on, or no clip of it has a known word.
          DataError: it cannot be read.
        """
        if self.source.split == VALIDATION or not has_split(self.source.folder, VALIDATION):
            raise NotMeasurable(f"{self.source.folder} has no split {VALIDATION!r} besides the evaluated one")
        source = open_clips(self.source.folder, VALIDATION, self.source.words)
        other = replace(self, source=source, count=min(len(source), FITTED_ON))
        vectors = recognition.encode(self.model, other.batches_with_progress("weighting audio and video"))
        if not (known := vectors.word >= 0).any():
            raise NotMeasurable(f"no clip's word is known in the split {VALIDATION!r}")
        read = recognition.logits(self.model, vectors)
        return fusion.fit(read["audio"][known], read["video"][known], vectors.word[known])

    @functools.cached_property
    def confusions(self) -> dict[str, np.ndarray]:
        """`metrics.confusion` by modality, of the clips whose word is known.

        Raises:
          NotMeasurable: there are none.
        """
        if not (known := self.vectors.word >= 0).any():
            raise NotMeasurable("no clip's word is known")
        answers = {name: values.argmax(1)[known] for name, values in self.logits.items()}
        words = len(self.source.words)
        return {name: metrics.confusion(answer, self.vectors.word[known], words) for name, answer in answers.items()}

    @functools.cached_property
    def generated(self) -> Generated:
        """Every counted clip, generated and measured; needs all networks of generation.

        Raises:
          RuntimeError: a clip was missed or counted twice.
        """
        estimator = None if isinstance(self._fitted, NotMeasurable) else self._fitted
        found = generated.measure(
            self.model,
            self.untrained,
            self.source,
            self.batches(),
            self.vectors.word,
            estimator,
            self.scorer,
            self.distances,
            judge=self.judge,
        )
        self._check_count(found.index)
        return found

    def require_estimator(self) -> None:
        """Raises NotMeasurable where no mouth-opening estimator can be fitted."""
        if isinstance(self._fitted, NotMeasurable):
            raise self._fitted

    @functools.cached_property
    def _fitted(self) -> mouth_opening.Estimator | NotMeasurable:
        """The mouth-opening estimator, or why there is none: fitting reads many clips, so it is tried once only."""
        try:
            return fit_estimator(self.source, self.vectors)
        except NotMeasurable as reason:
            return reason

    def _check_count(self, index: np.ndarray) -> None:
        if not np.array_equal(np.sort(index), np.arange(self.count)):
            raise RuntimeError(
                f"{len(index)} clips were read, {len(np.unique(index))} different; there are {self.count}"
            )


def fit_estimator(source: ClipSource, vectors: Vectors) -> mouth_opening.Estimator:
    """The mouth-opening estimator, fitted on the training split without the people of this one.

    Raises:
      NotMeasurable: there is nothing to fit it on, or nothing to compare it with.
      DataError: the training split cannot be read.
    """
    known = vectors.mouth_opening[np.isfinite(vectors.mouth_opening).all(1)]
    if not np.ptp(known, axis=1).any():
        raise NotMeasurable("no clip has a known mouth opening that changes")
    return mouth_opening.fit_estimator(
        eval_batches(open_clips(source.folder, "train", source.words), BATCH), vectors.speaker
    )


def untrained(model: Talker, seed: int) -> Talker:
    """The same networks with fresh weights: a baseline of what the topology gives without training."""
    mesh = model.mesh or sharding.make_mesh(ConfigDict({"data": 1, "fsdp": 1}), jax.local_devices()[:1])
    weights = fresh_weights(model.config.model, seed, model.networks, mesh)
    return systems.part(model.config.model.system, "talker").TALKER(model.config, *weights, model.mesh)
