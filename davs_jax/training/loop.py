"""The training loop of any stage: state, batches, step, log, validate, save."""

import contextlib
import itertools
import operator
import os
import signal
from collections.abc import Callable, Iterator

import jax
import numpy as np

from davs_jax import checkpoint
from davs_jax.checkpoint import Checkpoints, lock
from davs_jax.data import pipeline
from davs_jax.data.sources import ClipSource
from davs_jax.display import plots
from davs_jax.errors import ConfigError
from davs_jax.evaluate.recognition import recognise
from davs_jax.inference import Davs
from davs_jax.monitor import goodput
from davs_jax.monitor.goodput import Account
from davs_jax.monitor.monitor import Monitor
from davs_jax.monitor.profiles import Profile
from davs_jax.parallel import processes, sharding
from davs_jax.parallel.compilation import compile_step, keep_compilations
from davs_jax.training import state, step
from davs_jax.training.forward import REMAT
from davs_jax.training.state import DavsState

FIGURES = ("audio_accuracy", "video_accuracy", "both_accuracy", "audio_to_video_r1", "video_to_audio_r1")
SMALLEST = {
    "seed": 0,
    "steps": 1,
    "accumulate": 1,
    "data.batch_size": 1,
    "data.threads": 1,
    "data.prefetch": 1,
    "log.every": 1,
    "checkpoint.every": 1,
    "checkpoint.keep": 1,
    "checkpoint.keep_every": 0,
    "profile.steps": 0,
    "profile.after": 0,
}


def train(config, workdir: str) -> bool:
    """Trains one stage in `workdir`, from its newest checkpoint where it has one.

    A run that is stopped or killed anywhere and started again ends with the same numbers as one that was not.
    SIGTERM and SIGINT (Ctrl-C) finish the step, save, and return. Nothing is written before this job holds the workdir.

    Returns:
      whether all `config.steps` are done; False where a signal stopped the run.

    Raises:
      ConfigError, DataError, CheckpointError: what is given cannot be trained on; told before the first step.
      CheckpointError: another run holds the workdir, or a checkpoint could not be written.
      NotFiniteError: a metric became NaN or infinite.
      WriterError: Weights & Biases is asked for and cannot be used.
    """
    keep_compilations()
    described = _check(config)
    # The signals first: a SIGTERM before the handler is there would leave the lock behind.
    with _stop_signals() as stop_asked, lock.held(checkpoint.as_path(workdir)) as release:
        return _train(config, workdir, described, stop_asked, release)


def _train(config, workdir: str, described, stop_asked: Callable[[], bool], release: Callable[[], None]) -> bool:
    """`train` in a workdir that this job holds.

    Args:
      described: what `_check` returns.
      release: gives the workdir up where the process ends without returning.
    """
    mesh, spec, abstract = described
    first = max(checkpoint.checkpoint_steps(workdir), default=0)
    if first >= config.steps:
        _say(f"{workdir} is at step {first} of {config.steps}: nothing left to do (set --config.steps to go on)")
        return True
    folder = checkpoint.as_path(workdir)
    account = Account(folder, first, config.steps, jax.process_index() == 0)
    batches, source = pipeline.train_batches(config, mesh, spec, first), _validation_clips(config, abstract)
    with (
        contextlib.closing(batches),
        _checkpoints(config, workdir) as checkpoints,
        processes.together(release),
    ):
        with account.spending("start"):
            now, origins = _start(config, mesh, checkpoints, abstract)
        _say(*_tables(config, mesh, spec, now, origins))
        with account.spending("compile"):
            train_step = _compile(config, mesh, spec, abstract)
            checkpoints.meet("compiled")
        with (
            contextlib.closing(
                Monitor(folder, first, config.steps, _clips(spec), account, config.log.wandb)
            ) as monitor,
            contextlib.closing(Profile(config, folder, first)) as profile,
        ):
            for number in range(first + 1, config.steps + 1):
                profile.before(number)
                with monitor.waiting():
                    batch = next(batches)
                if number == 1:
                    _show_batch(monitor, batch)
                now, metrics = train_step(now, batch)
                monitor.step(number, metrics)
                if said := profile.after(number, metrics):
                    monitor.say(said)
                stopping = stop_asked() or checkpoints.reached_preemption(number)
                if stopping or _due(config, config.log.every, number):
                    monitor.log(number)
                figures = {}
                if source and not stopping and _due(config, config.log.eval_every, number):
                    with account.spending("evaluation"):
                        figures = _validate(config, mesh, now, source)
                    monitor.scalars(number, figures)
                    monitor.say(f"step {number}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
                if source and not stopping and _due(config, config.log.images_every, number):
                    with account.spending("evaluation"):
                        _draw(config, mesh, now, source, monitor, number)
                if figures or stopping or _due(config, config.checkpoint.every, number):
                    monitor.settle()
                    with account.spending("checkpoint"):
                        checkpoints.save(number, now, config, figures)
                    account.note(number)
                if stopping:
                    break
    account.note(number)
    _say(goodput.sentence(account.total(number)))
    ended = "done" if number == config.steps else "stopped by a signal; run the same command again to go on"
    _say(f"step {number} of {config.steps}, saved in {checkpoint.checkpoints_folder(workdir) / str(number)}: {ended}")
    return number == config.steps


def _due(config, every: int, number: int) -> bool:
    """Whether something that is done `every` so many steps (0 is never), and at the end, is done at this step."""
    return every > 0 and (number % every == 0 or number == config.steps)


def _say(*lines: str) -> None:
    if jax.process_index() == 0:
        print(*lines, sep="\n", flush=True)


def _check(config) -> tuple[jax.sharding.Mesh, dict[str, jax.ShapeDtypeStruct], DavsState]:
    """The mesh, the batch and the state that the configuration describes; nothing is computed yet."""
    for name, smallest in SMALLEST.items():
        if (value := operator.attrgetter(name)(config)) < smallest:
            raise ConfigError(f"config.{name} is {value}; it must be at least {smallest}")
    if config.checkpoint.best not in ("", *FIGURES):
        raise ConfigError(f"config.checkpoint.best is {config.checkpoint.best!r}; it must be one of {FIGURES} or empty")
    for name, policy in config.remat.items():
        if policy not in REMAT:
            raise ConfigError(f"config.remat.{name} is {policy!r}; it must be one of {', '.join(REMAT)}")
    try:
        mesh = sharding.make_mesh(config.mesh)
        return mesh, step.batch_spec(config), state.abstract_state(config, mesh)
    except ValueError as error:  # what the networks, the losses and the optimizers refuse
        raise ConfigError(str(error)) from error


def _checkpoints(config, workdir: str) -> contextlib.AbstractContextManager[Checkpoints]:
    keeping = config.checkpoint
    return contextlib.closing(Checkpoints(workdir, keeping.keep, keeping.best, keeping.keep_every))


def _start(config, mesh, checkpoints: Checkpoints, abstract: DavsState) -> tuple[DavsState, dict[str, str]]:
    """The state to go on from, and where each network's weights come from."""
    for name in checkpoints.unfinished:
        _say(f"checkpoints/{name} was not finished, when a run was killed or its disk was full; it is not used")
    if checkpoints.latest is not None:
        now, saved = checkpoints.restore_latest(config, abstract)
        changed = [f"  changed since: {line}" for line in checkpoint.changes(saved, config)]
        _say(f"going on from step {checkpoints.latest}", *changed)
        return now, dict.fromkeys(now.params, f"step {checkpoints.latest}")
    given, origins = checkpoint.init_from(config, abstract)
    return state.init_state(config, mesh, given), origins


def _tables(config, mesh, spec, now: DavsState, origins: dict[str, str]) -> Iterator[str]:
    """What is about to be trained, on what: for people to look at before the first step."""
    opponents = state.adversaries(config)
    yield f"{mesh.size} × {jax.devices()[0].device_kind} in {jax.process_count()} process(es), mesh {dict(mesh.shape)}"
    for name, tree in now.params.items():
        count = sum(leaf.size for leaf in jax.tree.leaves(tree))
        role = "adversary" if name in opponents else "trained" if name in config.trained else "frozen"
        yield f"  {name:<23}{count:>12,} parameters  {role:<9}  from {origins[name]}"
    for name, array in spec.items():
        yield f"  batch {name:<17}{array.dtype!s:>12} {list(array.shape)}"


def _clips(spec: dict[str, jax.ShapeDtypeStruct]) -> int:
    """Clips of a batch; identity images where the stage reads no clips."""
    return next(iter(spec.values())).shape[0]


def _compile(config, mesh, spec, abstract: DavsState) -> Callable:
    """The compiled step, and a line on the memory that it needs."""
    compiled = compile_step(step.make_train_step(config, mesh), (abstract, spec), _say)
    used = compiled.memory_analysis()
    new = used.temp_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    _say(f"a step needs {(used.argument_size_in_bytes + new) / 2**20:,.0f} MiB of each device")
    return compiled


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Notes SIGTERM and SIGINT instead of dying of them; a second Ctrl-C ends the process at once.

    A second SIGTERM changes nothing: schedulers send several, and the save that the first one asked for goes on.
    Yields a function: has this process been asked to stop? In a job of several processes it is always False: there
    JAX's preemption service listens to SIGTERM, and `Checkpoints.reached_preemption` tells all the same last step.
    """
    asked = []

    def note(number: int, frame) -> None:
        if number == signal.SIGINT:
            signal.signal(number, before[number])
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            asked.append(number)

    signals = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _validation_clips(config, abstract: DavsState) -> ClipSource | None:
    """The clips to validate and draw on; None where the stage has no word encoders or asks for neither.

    Raises:
      DataError: the folder has no such split.
    """
    if not {"visual_encoder", "audio_encoder"} <= abstract.params.keys():
        return None
    if config.log.eval_every <= 0 and config.log.images_every <= 0:
        return None
    return pipeline.open_clips(config.data.clips, config.log.eval_split)


def _model(config, mesh, now: DavsState) -> Davs:
    return Davs(config, now.params | now.ema, now.batch_stats, mesh)


def _validate(config, mesh, now: DavsState, source: ClipSource) -> dict[str, float]:
    """Lip reading and retrieval on the validation split, with running statistics and averaged weights."""
    batches = pipeline.eval_batches(source, config.data.batch_size, config.data.threads)
    return recognise(_model(config, mesh, now), itertools.islice(batches, config.log.eval_batches or None))


def _draw(config, mesh, now: DavsState, source: ClipSource, monitor: Monitor, number: int) -> None:
    """Rows of three clips, each behind its photo: the real frames, audio-driven ones, video-driven ones."""
    model = _model(config, mesh, now)
    if not model.has("person_encoder", "decoder"):
        return
    batch = next(pipeline.eval_batches(source, min(3, len(source)), config.data.threads))
    rows = []
    for frames, mfcc in zip(batch["frames"], batch["mfcc"], strict=True):
        person, shown = model.encode_person(frames[0]), slice(2, None, 3)
        heard = model.decode(person, model.wid_from_audio(mfcc[shown]))
        seen = model.decode(person, model.wid_from_video(frames[shown]))
        rows += [[frames[0], *row] for row in (frames[shown], heard, seen)]
    monitor.image(number, "generated", plots.sheet(rows))


def _show_batch(monitor: Monitor, batch: dict[str, jax.Array]) -> None:
    """The first pictures that the step sees, as it sees them."""
    if "frames" in batch:
        clips = np.asarray(batch["frames"].addressable_data(0)[:4])
        monitor.image(1, "batch", plots.sheet(list(clips)))
