"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Put ``data`` into a file, which keeps its mode if it exists; its folder is made if it does not.

    Raises:
        OSError: it cannot be written; then it is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(data)
        if path.exists():
            scratch.chmod(path.stat().st_mode)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
