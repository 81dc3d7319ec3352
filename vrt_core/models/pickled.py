"""Reader of PyTorch checkpoints: the tensors of a pickled state dict, without ``torch.load``.

``torch.load`` can run code or corrupt memory in some versions, even with ``weights_only``, and inflates compressed
archives. This reader behaves alike with every version. It interprets the opcodes that state dicts consist of, calls no
function that a file names, and reads the numbers of the selected tensors only. Work and memory are bounded by the size
of the file.
"""

from __future__ import annotations

import io
import math
import mmap
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_MAX_PICKLE_BYTES = 4 << 20
"""Names and shapes of the largest published model take 0.6 MB; numbers are stored outside the pickle."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_ZIP_MAGIC = b"PK\x03\x04"

_DTYPES = {
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.FloatStorage": "float32",
    "torch.DoubleStorage": "float64",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
_ORDERED_DICT = "collections.OrderedDict"
_TENSOR, _PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_DAMAGE = (
    *(ValueError, LookupError, TypeError, ArithmeticError, AttributeError, OSError, EOFError, RuntimeError),
    *(struct.error, zipfile.error),
)
"""What a damaged file raises in the interpreter, in zipfile and in mmap."""
_EMPTY: Mapping[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}


@dataclass(frozen=True)
class Storage:
    """A row of numbers that is stored outside the pickle."""

    key: str
    dtype: str
    """Name of the dtype in torch."""
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose numbers have not been read."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that the tensor lies within its storage, and has no more numbers than it."""
        numbers = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise ValueError(f"a tensor has offset, size and stride {numbers}")
        end = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True)) + 1
        numel = math.prod(self.size)
        if numel and (end > self.storage.numel or numel > self.storage.numel):
            raise ValueError(f"a tensor of size {self.size} is larger than its storage of {self.storage.numel} numbers")


class _ForbiddenGlobal(ValueError):
    """A pickle names something else than a tensor or a container."""


def read_tensors(path: Path, select: Callable[[Any], Mapping[str, StoredTensor]]) -> dict[str, Tensor]:
    """Read tensors of a checkpoint, in the format of ``torch.save`` or in that before torch 1.6.

    Args:
        path: The file.
        select: Called with the content, which has a ``StoredTensor`` for each tensor; returns those to read.

    Returns:
        Tensors on the CPU. They share memory where they share storage in the file.

    Raises:
        WeightsError: If the file is damaged, or holds anything else than tensors, containers, numbers and strings; or
            from ``select``.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        return (_read_archive if is_archive else _read_legacy)(path, select)
    except _ForbiddenGlobal as error:
        raise WeightsError(
            f"{path} holds more than tensors ({error}), which could run code: refused; "
            "save the bare state dict, best as safetensors"
        ) from error
    except WeightsError:
        raise
    except _DAMAGE as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is damaged or cut off: {reason}; download it again") from error


def _read_archive(path: Path, select: Callable[[Any], Mapping[str, StoredTensor]]) -> dict[str, Tensor]:
    """Read the zip archive that ``torch.save`` writes: ``data.pkl``, and one file for each storage."""
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        (pickle_name,) = [name for name in infos if name.split("/")[1:] == ["data.pkl"]]
        folder = pickle_name.partition("/")[0]

        def read(name: str, max_bytes: int) -> bytes:
            info = infos[f"{folder}/{name}"]
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed; torch.save stores files as they are")
            if info.file_size > max_bytes:
                raise ValueError(f"{name} has {info.file_size} bytes, expected at most {max_bytes}")
            return archive.read(info)

        if f"{folder}/byteorder" in infos and read("byteorder", 6) != b"little":
            raise ValueError("its numbers are in big-endian order")
        selected = select(_Interpreter().run(io.BytesIO(read("data.pkl", _MAX_PICKLE_BYTES))))
        return _load(selected, lambda storage, num_bytes: read(f"data/{storage.key}", num_bytes), path.stat().st_size)


def _read_legacy(path: Path, select: Callable[[Any], Mapping[str, StoredTensor]]) -> dict[str, Tensor]:
    """Read a file of torch before 1.6: pickles of a header, the content and the storages' keys; then the storages."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if _Interpreter().run(content) != _LEGACY_MAGIC:
            raise ValueError("it is a pickle, but not one of torch.save")
        _Interpreter().run(content)  # version of the format
        if not _Interpreter().run(content)["little_endian"]:
            raise ValueError("its numbers are in big-endian order")
        interpreter = _Interpreter()
        selected = select(interpreter.run(content))
        positions: dict[str, int] = {}
        for key in _Interpreter().run(content):
            storage = interpreter.storages[key]
            if int.from_bytes(content.read(8), "little") != storage.numel:
                raise ValueError(f"storage {key} has another number of values than its tensors state")
            positions[key] = content.tell()
            content.seek(_num_bytes(storage), 1)

        def read(storage: Storage, num_bytes: int) -> bytes:
            start = positions[storage.key]
            return content[start : start + num_bytes]

        return _load(selected, read, len(content))


def _load(
    selected: Mapping[str, StoredTensor], read: Callable[[Storage, int], bytes], max_bytes: int
) -> dict[str, Tensor]:
    """Return the tensors; each storage is read once, and all together have at most ``max_bytes``."""
    import torch

    storages = {tensor.storage for tensor in selected.values()}
    if sum(map(_num_bytes, storages)) > max_bytes:
        raise ValueError(f"its tensors take more than the {max_bytes} bytes of the file")
    flat: dict[Storage, Tensor] = {}
    for storage in storages:
        content = bytearray(read(storage, _num_bytes(storage)))
        if len(content) != _num_bytes(storage):
            raise ValueError(f"storage {storage.key} has {len(content)} bytes, expected {_num_bytes(storage)}")
        dtype = getattr(torch, storage.dtype)
        flat[storage] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
    return {
        name: flat[tensor.storage].as_strided(tensor.size, tensor.stride, tensor.offset)
        for name, tensor in selected.items()
    }


def _num_bytes(storage: Storage) -> int:
    import torch

    return storage.numel * getattr(torch, storage.dtype).itemsize


@dataclass(frozen=True)
class _Global:
    """A class or function that a pickle names; never looked up."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in (*_DTYPES, _ORDERED_DICT, _TENSOR, _PARAMETER):
            raise _ForbiddenGlobal(self.name)


class _Interpreter:
    """Stack machine for the opcodes of a pickled state dict, in the protocol that ``torch.save`` uses by default."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        """Storages that the pickle refers to, by their keys."""
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, pickle: Any) -> Any:
        """Return the object of a pickle, and leave the file behind it.

        Raises:
            ValueError: If it is damaged, too long, or has other opcodes or globals. Damaged ones may also raise
                IndexError, KeyError and TypeError.
        """
        start = pickle.tell()
        for opcode, argument, position in pickletools.genops(pickle):
            if position - start > _MAX_PICKLE_BYTES:
                raise ValueError(f"its list of tensors is longer than {_MAX_PICKLE_BYTES} bytes")
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("a pickle has no end")

    def _step(self, name: str, argument: Any) -> None:
        stack, memo = self._stack, self._memo
        match name:
            case "PROTO":
                pass
            case "MARK":
                self._marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[name])
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append(_EMPTY[name]())
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop(int(name[-1]))))
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._set_items(self._pop(2))
            case "SETITEMS":
                self._set_items(self._pop_to_mark())
            case "GLOBAL":
                stack.append(_Global(argument.replace(" ", ".")))
            case "BINPERSID":
                stack.append(self._storage(*stack.pop()))
            case "REDUCE":
                stack.append(_reduce(*self._pop(2)))
            case "BUILD":  # attributes of an OrderedDict, such as the versions of modules
                stack.pop()
                if not isinstance(stack[-1], dict):
                    raise ValueError("only a dict may have attributes")
            case _:
                raise ValueError(f"a pickle of tensors has no {name}")

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("a pickle takes more objects than it has")
        popped = self._stack[-count:]
        del self._stack[-count:]
        return popped

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        popped = self._stack[start:]
        del self._stack[start:]
        return popped

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("only a list can be extended")
        self._stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        """Set alternating keys and values. Other keys than strings and numbers could take for ever to hash."""
        keys, values = items[::2], items[1::2]
        if not isinstance(self._stack[-1], dict) or not all(isinstance(key, (str, int, float)) for key in keys):
            raise ValueError("a pickle of tensors has dicts with keys that are strings or numbers")
        self._stack[-1].update(zip(keys, values, strict=True))

    def _storage(self, kind: Any, type_: Any, key: Any, location: Any, numel: Any, view: Any = None) -> Storage:
        if kind != "storage" or not isinstance(type_, _Global) or type_.name not in _DTYPES or view is not None:
            raise ValueError("a pickle refers to something else than a storage")
        if not isinstance(key, str) or not isinstance(numel, int) or numel < 0:
            raise ValueError(f"storage {key!r} has {numel!r} values")
        storage = Storage(key, _DTYPES[type_.name], numel)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} has two sizes or dtypes")
        return storage


def _reduce(function: Any, arguments: Any) -> Any:
    """Return the object that a pickle makes by calling a function."""
    name = function.name if isinstance(function, _Global) else ""
    if name == _ORDERED_DICT and arguments == ():
        return {}
    if name == _PARAMETER and isinstance(arguments[0], StoredTensor):
        return arguments[0]
    if name == _TENSOR and isinstance(arguments[0], Storage):
        storage, offset, size, stride = arguments[:4]
        return StoredTensor(storage, offset, tuple(size), tuple(stride))
    raise ValueError(f"a pickle calls {name or 'something'} with other arguments than torch.save")
