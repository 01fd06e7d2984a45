"""Work that goes on beside the encoder, in its order and in bounded memory; its failure stops the run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

#: Bytes that may wait to be written; a single batch may have more.
WAITING_BYTES = 256_000_000


class Background:
    """One thread that does what it is given, one after the other.

    After the first error nothing more is done: what waits is thrown away, and `submit` and `finish` raise the error.

    Parameters
    ----------
    name : str
        Of the thread.
    most : int
        Bytes that may wait or be at work; `submit` waits while there are more.
    """

    def __init__(self, name: str, most: int = WAITING_BYTES) -> None:
        self._name, self._most = name, most
        self._waiting: deque[tuple[Callable[[], object], int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._ending = False
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[], object], size: int) -> None:
        """Have something done when all before it is, once there is room for its ``size`` bytes.

        Raises
        ------
        BaseException
            That of earlier work which failed.
        """
        if self._thread is None:
            self._ending = False
            # A process that ends without a word does not wait for it: what it writes is whole or not there.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._error or not self._bytes or self._bytes + size <= self._most)
            if self._error is not None:
                raise self._error
            self._waiting.append((work, size))
            self._bytes += size
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until all is done, and end the thread; the next `submit` begins another.

        Raises
        ------
        BaseException
            As `submit`.
        """
        self.stop()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Wait as `finish` does, but raise nothing: for runs that end with an error anyway."""
        if self._thread is not None:
            with self._changed:
                self._ending = True
                self._changed.notify_all()
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return
                work, size = self._waiting.popleft()
            try:
                work()
            except BaseException as error:  # noqa: BLE001  (raised by those who wait for the work)
                with self._changed:
                    self._error = error
                    self._waiting.clear()
                    self._changed.notify_all()
                return
            del work
            with self._changed:
                self._bytes -= size
                self._changed.notify_all()
