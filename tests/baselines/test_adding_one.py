"""docs/baselines.md adds a system step by step; its code is run here."""

import importlib
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import configs
import davs_jax.baselines
from davs_jax import systems
from davs_jax.errors import ConfigError
from davs_jax.generate.drivers import Speech
from davs_jax.generate.talk import generate
from davs_jax.inference import load
from davs_jax.media.photo import Photo
from davs_jax.training import loop
from support.baselines import tiny
from support.talking_files import sound

PAGE = Path(configs.__file__).parents[1] / "docs" / "baselines.md"


@pytest.fixture
def glow(tmp_path, monkeypatch) -> Path:
    """The page's package and its config file."""
    text = PAGE.read_text().partition("## Add one more")[2]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    package = tmp_path / "glow"
    package.mkdir()
    (package / "__init__.py").write_text('"""A toy."""\n')
    names = ("networks.py", "examples.py", "training.py", "talker.py", "config.py")
    for name, code in zip(names, blocks, strict=True):
        (package / name).write_text(code)
    monkeypatch.setattr(davs_jax.baselines, "__path__", [*davs_jax.baselines.__path__, str(tmp_path)])
    yield package / "config.py"
    for name in [name for name in sys.modules if name.startswith("davs_jax.baselines.glow")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def test_the_system_of_the_page_trains_and_generates(glow, clips_folder, tmp_path):
    config = tiny(runpy.run_path(str(glow))["get_config"](), clips_folder)
    assert loop.train(config, str(tmp_path / "run"))
    model = load(tmp_path / "run")
    crop = np.full((64, 64, 3), 90, np.uint8)
    frames = list(generate(model, Photo(crop, None, crop), Speech(sound(0.2))))
    assert len(frames) == 5 and np.ptp(frames[0]) == 0


@pytest.mark.parametrize(
    ("module", "before", "after", "message"),
    [
        ("training", '("l1", "")', '("l1", "extra")', "returned no l1, which config.loss weighs"),
        ("training", '"brightness", batch', '"brightnes", batch', "no network 'brightnes'; it has brightness"),
        ("examples", ', "speech": clip_audio(record)[t]', "", "holds photo, frames, and the step also reads speech"),
        (
            "examples",
            "clip_audio(record)[t]}",
            "clip_audio(record)}",
            r"speech of an example is \[29, 20, 12\].*\[20, 12\]",
        ),
        ("examples", "clip_audio, stream_audio", "clip_audio", "glow.examples has no stream_audio"),
    ],
)
def test_a_mistake_in_a_new_system_is_named(glow, clips_folder, tmp_path, module, before, after, message):
    file = glow.parent / f"{module}.py"
    file.write_text(file.read_text().replace(before, after))
    config = tiny(runpy.run_path(str(glow))["get_config"](), clips_folder)
    with pytest.raises(ConfigError, match=message):
        loop.train(config, str(tmp_path / "run"))


def test_a_module_that_is_missing_is_named(glow):
    (glow.parent / "talker.py").unlink()
    with pytest.raises(ConfigError, match=r"glow has no module talker; add davs_jax.baselines.glow.talker"):
        systems.part("glow", "talker")


def test_a_system_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match=rf"'os'.*{', '.join(systems.names())}"):
        systems.part("os", "networks")
    with pytest.raises(ConfigError):
        systems.part("speech2vid.networks", "networks")
