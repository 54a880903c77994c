"""Die between the charge and the record of it, then ask again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import valkey
from payments import Bank, insist, pay

BANKS = {"forgetful": False, "careful": True}  # does it know idempotency keys?


class DeadlyBank(Bank):
    """A bank after whose work the program dies, at the worst moment there is."""

    def charge(self, key: str, cents: int) -> str:
        """Take the money, and end this process as a power failure would."""
        super().charge(key, cents)
        os.kill(os.getpid(), signal.SIGKILL)
        return "never"


def die(client: valkey.Valkey, name: str) -> None:
    """Pay, and do not get so far as to record it. The claim lasts 300 ms."""
    bank = DeadlyBank(Path(f"{name}.db"), knows_keys=BANKS[name])
    pay(client, bank, name, 1_999, claim=300)


def demonstrate(client: valkey.Valkey) -> None:
    """Let a process die with each kind of bank, and repeat its request."""
    for name, knows_keys in BANKS.items():
        path = Path(f"{name}.db")
        path.unlink(missing_ok=True)
        client.delete(f"payment:{name}")
        subprocess.run([sys.executable, __file__, name], check=False)
        bank = Bank(path, knows_keys=knows_keys)
        at_death = bank.charges()
        insist(client, bank, name, 1_999)
        print(f"{name}: {at_death} charge at its death, {bank.charges()} after a retry")


def main() -> int:
    """Play the crash, or be the program that dies; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            die(client, sys.argv[1]) if len(sys.argv) > 1 else demonstrate(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
