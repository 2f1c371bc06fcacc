"""`python -m davs_jax.checkpoint`: lists, shows and verifies checkpoints, and exports their weights."""

import argparse
import math
import sys

from etils import epath
from ml_collections import ConfigDict

from davs_jax import command_line
from davs_jax.checkpoint import checksums, reading
from davs_jax.checkpoint.export import WEIGHTS, as_path, leaves


def _list(workdir: str) -> None:
    """Prints one line per checkpoint: step, the figure that chooses the best, size on disk, configuration."""
    folders = [reading.checkpoints_folder(workdir) / str(step) for step in reading.checkpoint_steps(workdir)]
    name = reading.read_config(reading.find_checkpoint(workdir)).checkpoint.best
    values = {folder: reading.figures(folder).get(name, -math.inf) for folder in folders}
    best = max(reversed(folders), key=values.get)  # of equals, the later is kept
    print(f"{'step':>10}  {name or 'figure':>16}  {'MB':>8}  configuration")
    before = None
    for folder, value in values.items():
        shown, mark = (f"{value:.4f}", "  best" * (folder == best)) if math.isfinite(value) else ("–", "")
        config = reading.read_config(folder)
        print(f"{folder.name:>10}  {shown:>16}  {_size(folder) / 1e6:8.1f}  {_told(before, config)}{mark}")
        before = config
    for folder in reading.finished(workdir):
        if what := reading.damage(folder, verify=False):
            print(f"{folder.name:>10}  is damaged, and is not used: {what}")
    for folder in reading.unfinished(workdir):
        print(f"{folder.name:>10}  was not finished, and is not used  {_size(folder) / 1e6:8.1f} MB")


def _told(before: ConfigDict | None, config: ConfigDict) -> str:
    """A configuration in a line; after an earlier one of the run, what has changed since."""
    if before:
        return "; ".join(reading.changes(before, config)) or "as above"
    model = config.model
    sizes = f"{model.image_size} px, width {model.width:g}, {model.dtype}, batch {config.data.batch_size}"
    return f"trains {', '.join(config.trained)}; {sizes}"


def _size(path: epath.Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(map(_size, path.iterdir())) if path.is_dir() else path.stat().length


def _verify(path: str) -> int:
    """Prints one line per checkpoint, newest first, or one for an exported folder; 1 where one is damaged."""
    folder = as_path(path)
    alone = (folder / WEIGHTS).exists() or (folder / "state").exists()
    found = {folder: reading.damage(folder) for folder in ([folder] if alone else reading.finished(path))}
    if not found:
        reading.find_checkpoint(path)
    for folder, what in found.items():
        verified = "undamaged" if checksums.complete(folder) else "not verified: it has no checksums of all its files"
        print(f"{folder.name:>10}  {f'damaged: {what}' if what else verified}")
    return int(any(found.values()))


def _show(path: str) -> None:
    """Prints the configuration, and every network's parameters."""
    config, params, _ = reading.load_weights(path)
    print(config.to_json(indent=2))
    for name, tree in params.items():
        print(f"{name:>24}  {sum(leaf.size for leaf in leaves(tree).values()):12,} parameters")


@command_line.command
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status: 1 where a checkpoint is damaged."""
    parser = argparse.ArgumentParser(
        prog="python -m davs_jax.checkpoint",
        description="Look at checkpoints, and export weights for generation on another machine.",
        epilog="example: python -m davs_jax.checkpoint export runs/joint weights/joint --dtype float16",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    ls = commands.add_parser("ls", help="one line per checkpoint: step, validation figure, size, configuration")
    show = commands.add_parser("show", help="the configuration, and the networks' parameter counts")
    export = commands.add_parser("export", help="write a folder for inference: config.json, weights.npz and checksums")
    verify = commands.add_parser("verify", help="read every checkpoint, and compare it with its checksums")
    ls.add_argument("path", metavar="W", help="workdir of a training run")
    verify.add_argument("path", metavar="W", help="a workdir, one checkpoint in it, or an exported folder")
    for command in (show, export):
        command.add_argument("path", metavar="W", help="a workdir (its latest checkpoint), or one checkpoint in it")
    export.add_argument("folder", metavar="OUT", help="folder to write")
    export.add_argument(
        "--words",
        metavar="W",
        default="",
        help="add the word classifier of this run, whose word encoders W kept frozen",
    )
    export.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="default: %(default)s")
    args = parser.parse_args(argv)
    with command_line.sentences(parser.prog, args.path):
        match args.command:
            case "ls":
                _list(args.path)
            case "verify":
                return _verify(args.path)
            case "show":
                _show(args.path)
            case "export":
                reading.export_weights(args.path, args.folder, args.dtype, args.words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
