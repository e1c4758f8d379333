"""Tensors of torch.save: weights only, on the CPU, after checking the sizes stated in the archive.

torch is loaded when such a file is read; if it is missing, the error names it.
"""

import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.source import Source

ZIP = b"PK\x03\x04"
MOST_BYTES = 4 * 2**30
"""Maximum memory for the tensors of one file."""
MOST_RATIO = 2


def load_tensors(source: Source) -> Any:
    """The content of a `torch.save` file, with tensors as arrays. Raises ForeignFileError;
    ModuleNotFoundError for torch. Only tensors, numbers, text and containers of them are accepted."""
    _check_archive(source)
    import torch

    try:
        loaded = torch.load(source.path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        rule = f"is no file of torch.save with tensors only ({shortened(lines[0])})"
        raise source.problem("", rule, "save tensors, numbers, lists and dictionaries only") from error
    return _plain(loaded, source, 0)


def is_torch_file(source: Source) -> bool:
    """Whether a file has the name and the first bytes of torch.save."""
    return source.path.suffix in (".pt", ".pth") and source.head.startswith(ZIP)


def _check_archive(source: Source) -> None:
    """torch.save stores without compression: an archive that claims to expand is invalid."""
    try:
        with source.opened() as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise source.problem("", f"is no file of torch.save ({shortened(str(error))})") from error
    expanded = sum(entry.file_size for entry in entries)
    if expanded > MOST_BYTES or expanded > MOST_RATIO * source.num_bytes or len(entries) > 100_000:
        raise source.problem(
            "", f"expands to {expanded:,} bytes, which must be at most {MOST_BYTES:,} and not compressed"
        )


def _plain(value: Any, source: Source, depth: int) -> Any:
    if depth > 16:
        raise source.problem("", "is nested more than 16 levels deep")
    if isinstance(value, dict):
        return {key: _plain(one, source, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, source, depth + 1) for one in value]
    if hasattr(value, "detach"):
        return _array(value, source)
    return value


def _array(tensor: Any, source: Source) -> NDArray[Any]:
    """A view of one element may claim any size, so the size is checked before copying."""
    if tensor.numel() * tensor.element_size() > MOST_BYTES or tensor.is_sparse or tensor.is_quantized:
        raise source.problem(
            "", f"holds a tensor of shape {tuple(tensor.shape)}, which is too large or sparse"
        )
    try:
        return np.asarray(tensor.detach().numpy())
    except (TypeError, RuntimeError):  # numpy has no bfloat16
        return np.asarray(tensor.detach().float().numpy())
