"""Kill a worker at the worst moment, let another take over, and count."""

from __future__ import annotations

import subprocess
import sys
import time

import order_worker as orders
import valkey

PORT = 6379
COUNT = 40  # orders, each of 10.00
FATAL = 25  # the first worker dies with this one
PATIENCE = 100  # ms: these workers take less than that for a batch
KEYS = ("orders", "orders:dead", "handled", "sum", "bookings")


def book_both_ways(client: valkey.Valkey, fields: orders.Fields) -> None:
    """Book by adding, and book under the order's number; count the call."""
    client.incr("handled")
    client.incrby("sum", int(fields["cents"]))  # twice is not the same as once
    orders.book(client, fields)  # twice is the same as once


def book_and_hang(client: valkey.Valkey, fields: orders.Fields) -> None:
    """The same, but never return from the fatal order: wait to be killed.

    All is booked by then, and nothing has been acknowledged. Without this wait the
    kill would hit that moment only now and then, which is harder to find, not better.
    """
    book_both_ways(client, fields)
    if fields["order"] == str(FATAL):
        print("fatal", flush=True)
        time.sleep(60)


def doomed(port: int) -> None:
    """What the first worker's process runs."""
    with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as client:
        worker = orders.Worker(client, "doomed", book_and_hang)
        orders.run(client, worker, drain=True)


def kill_one(port: int) -> int:
    """Start a worker, kill it without warning once it hangs; return its status."""
    command = [sys.executable, __file__, "doomed", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it says that it hangs, or it ends
        process.kill()  # SIGKILL: no clean-up, no last word
        return process.wait()


def rehearse(client: valkey.Valkey, port: int) -> None:
    """Place the orders, kill the first worker, let the second finish; report."""
    client.delete(*KEYS)
    for number in range(1, COUNT + 1):
        client.xadd(orders.STREAM, {"order": number, "cents": 1000})
    print(f"first worker: exit status {kill_one(port)}")
    handled = int(client.get("handled") or 0)
    waiting = client.xpending(orders.STREAM, orders.GROUP)["pending"]
    print(f"handled {handled}, delivered but not acknowledged: {waiting}")

    worker = orders.Worker(client, "rescuer", book_both_ways)
    while client.xpending(orders.STREAM, orders.GROUP)["pending"]:
        worker.round(PATIENCE, wait=1)
    while worker.round(PATIENCE, wait=1):
        pass
    handled = int(client.get("handled") or 0)
    print(f"second worker: handled {worker.handled}")
    print(f"orders: {COUNT}, handled: {handled}, again: {handled - COUNT}")
    print(f"booked by adding:       {int(client.get('sum') or 0) / 100:.2f}")
    booked = sum(map(int, client.hvals("bookings")))
    print(f"booked under a number:  {booked / 100:.2f}")


def main() -> int:
    """Rehearse on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=PORT, decode_responses=True)
    with client:
        try:
            rehearse(client, PORT)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["doomed"]:
        doomed(int(sys.argv[2]))
    else:
        sys.exit(main())
