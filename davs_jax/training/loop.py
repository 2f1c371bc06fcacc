"""The training loop of any stage: state, batches, step, log, validate, save."""

import contextlib
import copy
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from davs_jax import checkpoint, systems
from davs_jax.checkpoint import Checkpoints, lock
from davs_jax.data import pipeline
from davs_jax.data.sources import ClipSource, open_clips
from davs_jax.display import plots
from davs_jax.errors import DataError
from davs_jax.evaluate.recognition import recognise
from davs_jax.monitor import goodput
from davs_jax.monitor.goodput import Account
from davs_jax.monitor.monitor import Monitor
from davs_jax.monitor.profiles import Profile
from davs_jax.parallel import executables, large_pages, processes, sharding
from davs_jax.parallel.compilation import compile_step, keep_compilations
from davs_jax.talker import Talker
from davs_jax.training import fingerprint, state, step
from davs_jax.training.stage import Stage
from davs_jax.training.state import DavsState


class Job(NamedTuple):
    """What is trained on which devices, known before anything is computed or written."""

    stage: Stage
    mesh: jax.sharding.Mesh
    abstract: DavsState  # shapes, types and shardings of the state
    fingerprint: str  # of the step
    kept_step: Callable[[], jax.stages.Compiled | None]  # waits for the step of an earlier start, which is being read


def train(config, workdir: str) -> bool:
    """Trains one stage in `workdir`, from its newest checkpoint if it has one.

    A run that is stopped or killed and then restarted ends with the same numbers as an uninterrupted one. SIGTERM and
    SIGINT (Ctrl-C) finish the step, save, and return. Nothing is written before this job holds the workdir.

    Returns:
      whether all `config.steps` are done; False where a signal stopped the run.

    Raises:
      ConfigError, DataError, CheckpointError: invalid config, data or weights; raised before the first step.
      CheckpointError: another run holds the workdir, or a checkpoint could not be written.
      NotFiniteError: a metric became NaN or infinite.
      WriterError: Weights & Biases is asked for and cannot be used.
    """
    keep_compilations()
    job = _resolve(config)
    # The signals first: a SIGTERM before the handler is there would leave the lock behind.
    with _stop_signals() as stop_asked, lock.held(checkpoint.as_path(workdir)) as release:
        return _train(config, workdir, job, stop_asked, release)


def _train(config, workdir: str, job: Job, stop_asked: Callable[[], bool], release: Callable[[], None]) -> bool:
    """`train` in a workdir that this job holds.

    Args:
      release: gives the workdir up where the process ends without returning.
    """
    stage, mesh = job.stage, job.mesh
    damaged = checkpoint.find_damaged(workdir, config.checkpoint.verify)
    for name, what in damaged.items():
        _say(f"WARNING: checkpoints/{name} is damaged ({what}); it is not used, and kept as damaged-{name}")
    first = max((n for n in checkpoint.checkpoint_steps(workdir) if str(n) not in damaged), default=0)
    if first >= config.steps:
        _say(f"{workdir} is at step {first} of {config.steps}: nothing left to do (raise --config.steps to train on)")
        return True
    folder = checkpoint.as_path(workdir)
    account = Account(folder, first, config.steps, jax.process_index() == 0)
    config = _with_words(config, stage)
    batches, source = pipeline.train_batches(config, mesh, stage.batch, first), _validation_clips(config, stage)
    with (
        contextlib.closing(batches),
        _checkpoints(config, workdir, damaged) as checkpoints,
        processes.together(release),
    ):
        with account.spending("start"):
            now, origins = _start(config, job, checkpoints)
        _say(*_tables(job, now, origins))
        with account.spending("compile"):
            train_step = _compile(job)
            checkpoints.meet("compiled")
        with (
            contextlib.closing(
                Monitor(folder, first, config.steps, stage.examples, account, config.log.wandb)
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
                if source and not stopping and _reads(stage) and _due(config, config.log.eval_every, number):
                    with account.spending("evaluation"):
                        figures = _validate(config, mesh, now, source)
                    monitor.scalars(number, figures)
                    monitor.say(f"step {number}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
                if source and not stopping and _due(config, config.log.images_every, number):
                    with account.spending("evaluation"):
                        _show_generated(config, mesh, now, source, monitor, number)
                if figures or stopping or _due(config, config.checkpoint.every, number):
                    monitor.settle()
                    with account.spending("checkpoint"):
                        checkpoints.save(number, now, config, figures)
                    account.note(number)
                if stopping:
                    break
    account.note(number)
    _say(goodput.sentence(account.total(number)))
    ended = "done" if number == config.steps else "stopped by a signal; rerun the same command to resume"
    _say(f"step {number} of {config.steps}, saved in {checkpoint.checkpoints_folder(workdir) / str(number)}: {ended}")
    return number == config.steps


def _due(config, every: int, number: int) -> bool:
    """Whether an action of every `every` steps (0: never), and of the last one, is due at this step."""
    return every > 0 and (number % every == 0 or number == config.steps)


def _say(*lines: str) -> None:
    if jax.process_index() == 0:
        print(*lines, sep="\n", flush=True)


def _resolve(config) -> Job:
    """Checks the config and describes the job; nothing is computed yet."""
    stage = Stage.from_config(config)
    mesh = sharding.make_mesh(config.mesh)
    known = fingerprint.of(config)
    kept_step = executables.begin_reading(known, mesh, _say)
    return Job(stage, mesh, state.abstract_state(stage, mesh), known, kept_step)


def _with_words(config, stage: Stage):
    """The config with the vocabulary of its clips, which is stored with the weights."""
    if not stage.reads_clips:
        return config
    config = copy.deepcopy(config)
    config.words = open_clips(config.data.clips, config.data.split, config.words).words
    return config


def _checkpoints(config, workdir: str, damaged: dict[str, str]) -> contextlib.AbstractContextManager[Checkpoints]:
    k = config.checkpoint
    return contextlib.closing(Checkpoints(workdir, k.keep, k.best, k.keep_every, k.verify, damaged))


def _start(config, job: Job, checkpoints: Checkpoints) -> tuple[DavsState, dict[str, str]]:
    """The state to start or resume from, and where each network's weights come from."""
    for name in checkpoints.unfinished:
        _say(f"checkpoints/{name} is incomplete: a run was killed or its disk was full; it is not used")
    if config.checkpoint.verify and checkpoints.unverified:
        _say(f"checkpoints/{checkpoints.latest} has no checksums of all its files; it is used all the same")
    if checkpoints.latest is not None:
        now, saved = checkpoints.restore_latest(config, job.abstract)
        changed = [f"  changed since: {line}" for line in checkpoint.changes(saved, config)]
        _say(f"resuming from step {checkpoints.latest}", *changed)
        return now, dict.fromkeys(now.params, f"step {checkpoints.latest}")
    given, origins = checkpoint.init_from(config, job.abstract)
    if prepare := getattr(job.stage.system, "prepare", None):
        found = {name: weights for name, weights in prepare(config).items() if name not in given}
        given |= {name: checkpoint.placed_like(name, job.abstract, weights) for name, weights in found.items()}
        origins |= dict.fromkeys(found, "the clips")
    return state.init_state(job.stage, job.mesh, given), origins


def _tables(job: Job, now: DavsState, origins: dict[str, str]) -> Iterator[str]:
    """Devices, networks and batch, to look at before the first step."""
    stage, mesh = job.stage, job.mesh
    yield f"{mesh.size} × {jax.devices()[0].device_kind} in {jax.process_count()} process(es), mesh {dict(mesh.shape)}"
    for name, tree in now.params.items():
        count = sum(leaf.size for leaf in jax.tree.leaves(tree))
        yield f"  {name:<23}{count:>12,} parameters  {stage.role(name):<9}  from {origins[name]}"
    for name, array in stage.batch.items():
        yield f"  batch {name:<17}{array.dtype!s:>12} {list(array.shape)}"
    if jax.default_backend() == "cpu" and (advice := large_pages.advice()):
        yield advice


def _compile(job: Job) -> Callable:
    """The step, compiled now or by an earlier start; prints which, and how much memory a step needs."""
    if compiled := job.kept_step():
        _say("the compiled step of an earlier start is read")
    else:
        train_step = step.make_train_step(job.stage, job.mesh)
        compiled, cached = compile_step(train_step, (job.abstract, dict(job.stage.batch)), _say)
        if not cached:  # on CPUs a program that was read from JAX's cache loses functions when it is written again
            executables.write(job.fingerprint, job.mesh, compiled, _say)
    used = compiled.memory_analysis()
    new = used.temp_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    _say(f"a step needs {(used.argument_size_in_bytes + new) / 2**20:,.0f} MiB of each device")
    return compiled


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Records SIGTERM and SIGINT, which then do not end the process; a second Ctrl-C ends it at once.

    A second SIGTERM changes nothing: schedulers send several, and the save that the first one asked for continues.
    Yields a function: has this process been asked to stop? In a job of several processes it is always False: there
    JAX's preemption service listens to SIGTERM, and `Checkpoints.reached_preemption` gives all the same last step.
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


def _validation_clips(config, stage: Stage) -> ClipSource | None:
    """The clips to validate on and to generate from; None where nothing does either.

    Raises:
      DataError: the folder has no such split.
    """
    reads = config.log.eval_every > 0 and _reads(stage)
    shows = config.log.images_every > 0 and set(_talker(config).needs("audio_encoder")) <= set(stage.networks)
    if not (reads or shows):
        return None
    try:
        return open_clips(config.data.clips, config.log.eval_split, config.words)
    except DataError as error:
        raise DataError(
            f"config.log.eval_split: {error}", "set it to another split, or log.eval_every and log.images_every to 0"
        ) from error


def _reads(stage: Stage) -> bool:
    """Whether the stage has what a validation of lip reading needs."""
    return {"visual_encoder", "audio_encoder"} <= set(stage.networks)


def _model(config, mesh, now: DavsState) -> Talker:
    return _talker(config)(config, now.params | now.ema, now.batch_stats, mesh)


def _talker(config) -> type[Talker]:
    return systems.part(config.model.system, "talker").TALKER


def _validate(config, mesh, now: DavsState, source: ClipSource) -> dict[str, float]:
    """Lip reading and retrieval on the validation split, with running statistics and averaged weights."""
    model = _model(config, mesh, now)
    batches = pipeline.eval_batches(source, config.data.batch_size, config.data.threads, model.clip_audio)
    return recognise(model, itertools.islice(batches, config.log.eval_batches or None))


def _show_generated(config, mesh, now: DavsState, source: ClipSource, monitor: Monitor, number: int) -> None:
    """Logs an image: for each of three clips, a row of real, audio-driven and video-driven frames after its photo."""
    model = _model(config, mesh, now)
    if model.missing("audio_encoder"):
        return
    batch = next(pipeline.eval_batches(source, min(3, len(source)), config.data.threads, model.clip_audio))
    rows = []
    for frames, heard in zip(batch["frames"], batch["speech"], strict=True):
        person, shown = model.encode_person(frames[0]), slice(2, None, 3)
        made = [model.decode(person, model.wid_from_audio(heard))]
        if not model.missing("visual_encoder"):
            made.append(model.decode(person, model.wid_from_video(frames)))
        rows += [[frames[0], *row[shown]] for row in (frames, *made)]
    monitor.image(number, "generated", plots.sheet(rows))


def _show_batch(monitor: Monitor, batch: dict[str, jax.Array]) -> None:
    """Logs the first images that the step reads."""
    if "frames" in batch:
        clips = np.asarray(batch["frames"].addressable_data(0)[:4])
        monitor.image(1, "batch", plots.sheet(list(clips)))
