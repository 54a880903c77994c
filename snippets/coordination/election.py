"""Two candidates in processes of their own; the leader is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import valkey
from leader import OFFICE, status

CANDIDATE = Path(__file__).with_name("leader.py")
LEADER = f"leader:{{{OFFICE}}}"


def wait(process: subprocess.Popen[bytes], done: Callable[[], object]) -> None:
    """Wait until it is done, or this process can no longer do it."""
    while not done():
        if process.poll() is not None:
            message = f"a candidate ended, status {process.returncode}"
            raise RuntimeError(message)
        time.sleep(0.01)


def start(client: valkey.Valkey, name: str) -> subprocess.Popen[bytes]:
    """A candidate, as soon as it has asked once."""
    before = client.scard(f"{LEADER}:candidates")
    program = [sys.executable, str(CANDIDATE), name]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL)
    wait(process, lambda: client.scard(f"{LEADER}:candidates") > before)
    return process


def demonstrate(client: valkey.Valkey) -> None:
    """Ada comes first and leads, is killed, and Ben has to find out."""
    client.delete(LEADER, f"{LEADER}:candidates")
    processes = []
    try:
        processes.extend(start(client, name) for name in ("ada", "ben"))
        ada, ben = processes
        print(status(client))
        ada.kill()  # SIGKILL: no last word is possible
        wait(ben, lambda: status(client).startswith("ben"))
        print(f"ada is killed: {status(client)}")
        ben.terminate()  # SIGTERM: please end
        ben.wait()
        print(f"ben has resigned: {status(client)}")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> int:
    """Hold the election on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            demonstrate(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
