import pytest

from support.saved import save


@pytest.fixture
def workdir(tmp_path, word_config):
    return save(tmp_path / "run", word_config, 3, 6)


@pytest.fixture
def without_checksums(workdir):
    """As an earlier version saved it."""
    for file in workdir.rglob("checksums-*.txt"):
        file.unlink()
    return workdir
