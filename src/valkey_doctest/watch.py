"""Verify a page whenever it is saved: ``python -m valkey_doctest.watch docs``, beside ``mkdocs serve``."""

from __future__ import annotations

import queue
import subprocess
import sys
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class _Saved(FileSystemEventHandler):
    def __init__(self, pages: queue.Queue[Path]) -> None:
        self._pages = pages

    def on_any_event(self, event: FileSystemEvent) -> None:
        for name in (event.src_path, event.dest_path):
            path = Path(str(name))
            if event.event_type in ("created", "modified", "moved") and path.suffix == ".md" and path.exists():
                self._pages.put(path)


def main(folder: str) -> None:
    """Watch until interrupted."""
    pages: queue.Queue[Path] = queue.Queue()
    observer = Observer()
    observer.schedule(_Saved(pages), folder, recursive=True)
    observer.start()
    print(f"Watching {folder}: each page is verified when it is saved.", flush=True)
    try:
        while True:
            saved = {pages.get()}
            while not pages.empty():  # an editor may write a file several times to save it once
                saved.add(pages.get())
            subprocess.run([sys.executable, "-m", "pytest", "-q", *map(str, sorted(saved))], check=False)
    except KeyboardInterrupt:
        pass
    finally:
        observer.stop()
        observer.join()


if __name__ == "__main__":
    main(sys.argv[1])
