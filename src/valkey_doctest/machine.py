"""What to do when this machine runs out of something."""

from __future__ import annotations

import errno

_ROOM = "Make room, or name another folder: TMPDIR for servers' data, --valkey-record for the record."
_WRITABLE = "Name a folder that can be written: TMPDIR for servers' data, --valkey-record for the record."

_SHORTAGES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: "Too few files may be open at once: try `ulimit -n 1024`.",
    errno.ENFILE: "Too many files are open on this machine: end other programs.",
    errno.EAGAIN: "Too many processes run: end other programs.",
    errno.ENOMEM: "Too little memory is free: end other programs.",
}
_ADVICE = {**_SHORTAGES, errno.EROFS: _WRITABLE, errno.EACCES: _WRITABLE}


def is_shortage(error: OSError) -> bool:
    """Whether the same would have worked with more room, memory, files or processes."""
    return error.errno in _SHORTAGES


def explain(error: OSError) -> str:
    """What went wrong, and what to do about it as far as that is known."""
    advice = _ADVICE.get(error.errno or 0)
    return f"{error}. {advice}" if advice else str(error)
