"""Batches that are made while the model is at another."""

import queue
import threading
from collections.abc import Callable

import torch

from device_scenes import Batch

AHEAD = 3
"""Batches that may wait."""


class Producer:
    """Makes batches in a thread and, on CUDA, a stream of its own, beside the steps."""

    def __init__(self, make: Callable[[], Batch], device: torch.device):
        self._make, self._is_cuda = make, device.type == "cuda"
        self._ready: queue.Queue = queue.Queue(AHEAD)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._is_cuda:
                # Many small kernels between the model's few large ones: they go first, or they are always late.
                with torch.cuda.stream(torch.cuda.Stream(priority=-1)):
                    self._fill()
            else:
                self._fill()
        except Exception as error:  # for the thread that waits
            self._put(error)

    def _fill(self) -> None:
        while not self._is_over.is_set():
            batch = self._make()
            made = torch.cuda.current_stream().record_event() if self._is_cuda else None
            self._put((batch, made))

    def _put(self, item: object) -> None:
        while not self._is_over.is_set():
            try:
                return self._ready.put(item, timeout=0.5)
            except queue.Full:
                pass

    def next(self) -> Batch:
        item = self._ready.get()
        if isinstance(item, Exception):
            raise item
        batch, made = item
        if made:
            here = torch.cuda.current_stream()
            here.wait_event(made)
            for tensor in batch:  # its memory is not to be used again before this stream is done with it
                tensor.record_stream(here)
        return batch

    def __enter__(self) -> "Producer":
        return self

    def __exit__(self, *_: object) -> None:
        """Afterwards nothing uses what the batches are made of."""
        self._is_over.set()
        self._thread.join()
        if self._is_cuda:
            torch.cuda.synchronize()
