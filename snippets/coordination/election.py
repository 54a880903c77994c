"""Two candidates in processes of their own; the leader is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import valkey
from leader import OFFICE, status

CANDIDATE = Path(__file__).with_name("leader.py")
LEADER = f"leader:{{{OFFICE}}}"


def start(client: valkey.Valkey, name: str) -> subprocess.Popen[bytes]:
    """A candidate, as soon as it has asked once."""
    program = [sys.executable, str(CANDIDATE), name]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL)
    while not client.sismember(f"{LEADER}:candidates", name):
        if process.poll() is not None:
            message = f"{name} ended at once, status {process.returncode}"
            raise RuntimeError(message)
        time.sleep(0.01)
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
        while client.get(LEADER) != "ben":
            time.sleep(0.01)
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
