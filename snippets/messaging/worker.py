"""Work off a queue so that a job survives the death of the worker that holds it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import valkey

QUEUE = "invoices"
ALIVE_FOR = 1_000  # milliseconds after which a silent worker counts as dead


class Queue:
    """A list of jobs, and for each worker a list of what it has in its hands."""

    def __init__(self, client: valkey.Valkey, alive_for: int = ALIVE_FOR) -> None:
        self.client = client
        self.alive_for = alive_for

    def hands(self, worker: str) -> str:
        """The key of the list that holds the job this worker is busy with."""
        return f"{QUEUE}:hands:{worker}"

    def beat(self, worker: str) -> None:
        """Say that this worker is alive, for a while."""
        pipeline = self.client.pipeline()
        pipeline.sadd(f"{QUEUE}:workers", worker)
        pipeline.set(f"{QUEUE}:alive:{worker}", 1, px=self.alive_for)
        pipeline.execute()

    def take(self, worker: str, wait: float) -> str | None:
        """The job left over from an earlier life, or the next one; it may wait."""
        left_over = self.client.lindex(self.hands(worker), 0)
        if left_over is not None:
            return left_over
        return self.client.blmove(QUEUE, self.hands(worker), wait, "LEFT", "RIGHT")

    def done(self, worker: str, job: str) -> bool:
        """Let go of a job; false if somebody has taken it for lost meanwhile."""
        return self.client.lrem(self.hands(worker), 1, job) == 1

    def failed(self, worker: str, job: str) -> None:
        """Put a job that raised an error aside, for a person to look at."""
        pipeline = self.client.pipeline()  # both or neither: MULTI and EXEC
        pipeline.lrem(self.hands(worker), 1, job)
        pipeline.rpush(f"{QUEUE}:failed", job)
        pipeline.execute()

    def recover(self) -> list[str]:
        """Put the jobs of dead workers back to the head of the queue."""
        recovered = []
        for worker in sorted(self.client.smembers(f"{QUEUE}:workers")):
            if self.client.exists(f"{QUEUE}:alive:{worker}"):
                continue
            while job := self.client.lmove(self.hands(worker), QUEUE, "RIGHT", "LEFT"):
                recovered.append(job)
        return recovered

    def idle(self) -> bool:
        """Whether nothing waits and nobody holds anything."""
        workers = self.client.smembers(f"{QUEUE}:workers")
        return not self.client.exists(QUEUE, *(self.hands(each) for each in workers))


@contextmanager
def heartbeat(queue: Queue, worker: str) -> Iterator[None]:
    """Keep this worker alive in the eyes of the others while the block runs."""
    ended = threading.Event()

    def keep_on() -> None:
        while not ended.wait(queue.alive_for / 3_000):
            with suppress(valkey.ConnectionError, valkey.TimeoutError):
                queue.beat(worker)  # the next beat tries again

    queue.beat(worker)
    thread = threading.Thread(target=keep_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def run(queue: Queue, worker: str, handle: Callable[[str], None]) -> None:
    """Handle jobs until there are none left anywhere."""
    with heartbeat(queue, worker):
        while not queue.idle():
            for lost in queue.recover():
                print(f"{worker}: recovered {lost}")
            job = queue.take(worker, wait=0.1)
            if job is None:
                continue
            try:
                handle(job)
            except Exception as error:  # noqa: BLE001  others must go on
                queue.failed(worker, job)
                print(f"{worker}: {job} failed: {error}", file=sys.stderr)
            else:
                known = "" if queue.done(worker, job) else ", and so did another"
                print(f"{worker}: did {job}{known}")


def write_invoice(job: str) -> None:
    """Write the file of an invoice; written twice it is the same file."""
    draft = Path(f"{job}.draft")
    draft.write_text(f"Invoice for {job}\n", encoding="utf-8")
    draft.replace(f"{job}.txt")  # whole or not at all


def main() -> int:
    """Be the worker named on the command line; return the exit status."""
    worker = sys.argv[1] if len(sys.argv) > 1 else "worker-1"
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            run(Queue(client), worker, write_invoice)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
