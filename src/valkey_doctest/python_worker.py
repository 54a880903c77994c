"""The process that runs a page's Python: started by :mod:`valkey_doctest.python`, one a page.

It reads one JSON object a line from standard input (``source``, ``filename``, ``line``, ``mode``), runs it in
one namespace, and answers one JSON object a line on the file descriptor it was given.
"""

from __future__ import annotations

import json
import linecache
import os
import sys
import traceback
from typing import Any


def main(answers: int) -> None:
    """Run what comes until standard input ends."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a page's input() sees the end of input
    with os.fdopen(answers, "w", encoding="utf-8") as out:
        for request in requests:
            answer = _run(json.loads(request), namespace)
            sys.stdout.flush()
            out.write(json.dumps(answer) + "\n")
            out.flush()


def _run(request: dict[str, Any], namespace: dict[str, Any]) -> dict[str, Any]:
    # Blank lines before it give tracebacks the page's own line numbers.
    source = "\n" * (request["line"] - 1) + request["source"]
    name = request["filename"]
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        exec(compile(source, name, request["mode"], dont_inherit=True), namespace)  # noqa: S102  it is what we are for
    except SystemExit as stop:
        if stop.code not in (None, 0):
            return {"error": f"SystemExit: {stop.code}", "only": f"SystemExit: {stop.code}"}
    except BaseException as error:  # noqa: BLE001  whatever it was, the page hears of it
        report = traceback.TracebackException.from_exception(error)
        report.stack = traceback.StackSummary.from_list([frame for frame in report.stack if frame.filename != __file__])
        return {"error": "".join(report.format()), "only": "".join(report.format_exception_only())}
    return {"error": None, "only": None}


if __name__ == "__main__":
    sys.path[0] = ""  # as in a Python that a learner starts: programs in the folder can be imported, ours cannot
    main(int(sys.argv[1]))
