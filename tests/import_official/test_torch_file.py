import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax.errors import CheckpointError
from davs_jax.import_official import pickles, torch_file
from davs_jax.import_official.tensors import Other
from support import torch_files
from support.torch_files import Call, Named, Storage, pickled, tensor, zipped

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


@pytest.fixture
def file(tmp_path):
    return tmp_path / "net.pth.tar"


def read(file, content):
    file.write_bytes(content)
    return torch_file.read(file)


FORMS = {
    "zip": zipped,
    "zip, protocol 5": lambda value: zipped(value, protocol=5),
    "zip, compressed": lambda value: zipped(value, compression=zipfile.ZIP_DEFLATED),
    "zip, without a folder's name": lambda value: zipped(value, root=""),
    "pickles": pickled,
    "pickles, protocol 5": lambda value: pickled(value, protocol=5),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_values(file, form):
    stored = {
        "net": {"a": VALUES, "none": np.zeros((0, 3), np.float32)},
        "step": 7,
        "note": "café",
        "list": [1, (2, None)],
    }
    found = read(file, FORMS[form](stored))
    np.testing.assert_array_equal(found["net"]["a"], VALUES)
    assert found["net"]["none"].shape == (0, 3)
    assert [found[key] for key in ("step", "note", "list")] == [7, "café", [1, (2, None)]]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "int64", "bool", "complex64"])
@pytest.mark.parametrize("form", ["zip", "pickles"])
def test_every_type_keeps_its_bits(file, form, dtype):
    values = VALUES.astype(jnp.bfloat16 if dtype == "bfloat16" else dtype)
    found = read(file, FORMS[form]({"a": values}))["a"]
    assert found.dtype == values.dtype
    assert found.tobytes() == values.tobytes()


@pytest.mark.parametrize("form", ["zip", "pickles"])
def test_tensors_are_views_of_shared_storages(file, form):
    def save(pickler, storage):
        pickler.storages.append(storage)
        pickler.save(
            ("t", tensor(storage, 0, (4, 3), (1, 4)), tensor(storage, 5, ()), tensor(storage, 1, (2, 3), (0, 1)))
        )

    class Shared(torch_files.Pickler):
        dispatch = torch_files.Pickler.dispatch | {SimpleNamespace: lambda self, value: save(self, value.storage)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_files, "Pickler", Shared)
        content = FORMS[form](SimpleNamespace(storage=Storage(VALUES.reshape(-1), "0")))
    _, turned, one, repeated = read(file, content)
    np.testing.assert_array_equal(turned, VALUES.T)
    assert one == VALUES[1, 1]
    np.testing.assert_array_equal(repeated, np.stack([VALUES[0, 1:]] * 2))


def test_a_file_of_a_big_endian_machine_is_swapped(file):
    content = zipped({"a": VALUES.byteswap()})
    file.write_bytes(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    np.testing.assert_array_equal(torch_file.read(file)["a"], VALUES)


def test_pickles_of_python_2_are_read():
    path = "é" * 150
    spelt = [b"U\x04caf\xe9", b"T" + struct.pack("<i", 150) + path.encode("latin1"), b"I139972318142480\n", b"I-5\n"]
    old = io.BytesIO(b"\x80\x02(" + b"".join(spelt) + b"K\x07X\x01\x00\x00\x00at." + b"storages")
    assert pickles.decode(old, {}, None) == ("café", path, 139972318142480, -5, 7, "a")
    assert old.read() == b"storages"


@pytest.mark.parametrize(
    ("function", "arguments", "kind"),
    [
        ("_rebuild_sparse_tensor", (None, (1, 2)), "a sparse tensor"),
        ("_rebuild_meta_tensor_no_storage", (None, (3,), (1,), False), "a meta tensor, without values"),
        ("_rebuild_qtensor", (None,), "a quantised tensor"),
    ],
)
def test_a_tensor_without_plain_values_is_kept_by_its_kind(file, function, arguments, kind):
    stored = {"a": Call(Named("torch._utils", function), arguments), "b": VALUES}
    found = read(file, zipped(stored))
    assert found["a"] == Other(kind)
    np.testing.assert_array_equal(found["b"], VALUES)


def test_a_numpy_value_beside_the_weights_does_no_harm(file):
    scalar = Call(Named("numpy.core.multiarray", "scalar"), (Call(Named("numpy", "dtype"), ("f8",)), b"\0" * 8))
    found = read(file, zipped({"best": scalar, "a": VALUES}))
    np.testing.assert_array_equal(found["a"], VALUES)


@pytest.mark.parametrize("form", ["zip", "pickles"])
@pytest.mark.parametrize("name", [("os", "system"), ("builtins", "eval"), ("torch.nn.modules.linear", "Linear")])
def test_what_could_run_code_is_refused_by_name(file, form, name):
    with pytest.raises(CheckpointError, match=rf"asks for {'.'.join(name)}, which could run code, and is refused"):
        read(file, FORMS[form]({"a": Call(Named(*name), ("true",))}))


def test_a_deep_nest_is_read(file):
    value = b"]" * 100_000 + b"a" * 99_999
    found = read(file, _zip_of(b"\x80\x02" + value + b"."))
    assert isinstance(found, list) and len(found) == 1


def _zip_of(content):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a/data.pkl", content)
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x02" + b"(" * 50 + b"}" + b"t" * 50 + b"K\x01s.", "malformed"),  # a number is set in a tuple
        (b"\x80\x02}((K\x01ttK\x01s.", "malformed.*is a key"),
        (b"\x80\x02}", "malformed"),
        (b"\x80\x02K\x01K\x02R.", "malformed"),
        (b"\x80\x02h\x05.", "malformed"),
        (b"\x80\x02\x82\x01.", "malformed.*EXT1"),
        (b"\x80\x02X\xff\xff\xff\x7fa.", "malformed"),
    ],
)
def test_a_malformed_pickle_is_refused(file, content, reason):
    with pytest.raises(CheckpointError, match=reason) as refused:
        read(file, _zip_of(content))
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    "arguments",
    [
        (0, (13,), (1,)),  # more than the storage holds
        (10, (3,), (1,)),
        (-1, (1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (1 << 70,), (1 << 70,)),
        (0, ("a",), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(file, arguments):
    class Beyond(torch_files.Pickler):
        def save_array(self, array):
            self.storages.append(Storage(array.reshape(-1), "0"))
            self.save(tensor(self.storages[0], *arguments))

        dispatch = torch_files.Pickler.dispatch | {np.ndarray: save_array}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_files, "Pickler", Beyond)
        content = zipped({"a": VALUES})
    with pytest.raises(CheckpointError, match="malformed"):
        read(file, content)


def test_bit_rot_in_a_zip_is_refused(file):
    content = zipped({"a": VALUES})
    at = content.index(VALUES.tobytes())
    with pytest.raises(CheckpointError, match=r"is damaged \(archive/data/0 does not have the checksum"):
        read(file, content[:at] + b"\xff" + content[at + 1 :])


def _tar(*names):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return made.getvalue()


def _npz():
    made = io.BytesIO()
    np.savez(made, a=VALUES)
    return made.getvalue()


FILES = {
    "empty": (b"", "is empty; download it again"),
    "text": (b"error 404\n", "is text, not a PyTorch checkpoint"),
    "web page": (b"\n<!DOCTYPE html><html>quota exceeded</html>", "is a web page"),
    "LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "is a pointer of Git LFS.*git lfs pull",
    ),
    "gzip": (gzip.compress(b"a"), "is compressed with gzip; uncompress it"),
    "tar": (_tar("net.pth"), "is a tar archive; unpack it"),
    "old tar": (_tar("storages", "tensors", "pickle"), r"is a tar of PyTorch before 0\.1\.10"),
    "safetensors": (struct.pack("<Q", 2) + b"{}", "is a safetensors file"),
    "binary": (b"\x00\x01\x02\x03", "is another binary format"),
    "npz": (_npz(), "is a zip, but PyTorch did not write it"),
    "pickle": (pickle.dumps({"a": 1}, 2), "is a pickle, but PyTorch did not write it"),
    "cut zip": (zipped({"a": VALUES})[:-30], r"is incomplete \(a zip without its end\); download it again$"),
    "cut pickles": (pickled({"a": VALUES})[:-5], r"is incomplete \(it ends within storage 0\); download it again$"),
    "cut early": (pickled({"a": VALUES})[:150], "malformed pickle|is incomplete"),
}


@pytest.mark.parametrize("name", FILES)
def test_another_file_is_refused_by_what_it_is(file, name):
    content, reason = FILES[name]
    with pytest.raises(CheckpointError, match=reason) as refused:
        read(file, content)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


def test_a_folder_is_told_from_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder"):
        torch_file.read(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        torch_file.read(tmp_path / "none")


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("form", ["zip", "pickles"])
def test_random_damage_ends_in_values_or_a_sentence(file, form, seed):
    content = bytearray(FORMS[form]({"net": {"a": VALUES, "b": VALUES.astype(np.float16)}, "step": 7}))
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, len(content), 3):
        content[at] = rng.integers(256)
    try:
        read(file, bytes(content))
    except CheckpointError as error:
        assert "\n" not in str(error) and len(str(error)) < 300


def test_the_files_that_pytorch_writes_are_read(file):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'davs_jax[torch]'")
    values = torch.from_numpy(VALUES)
    stored = {"a": values, "t": values.t(), "half": values.half(), "b": values.bfloat16(), "s": values.to_sparse()}
    for new in (True, False):
        torch.save(stored, file, _use_new_zipfile_serialization=new)
        found = torch_file.read(file)
        np.testing.assert_array_equal(found["a"], VALUES)
        np.testing.assert_array_equal(found["t"], VALUES.T)
        np.testing.assert_array_equal(found["b"].astype(np.float32), values.bfloat16().float().numpy())
        assert found["s"] == Other("a sparse tensor")
