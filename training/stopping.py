"""SIGTERM and Ctrl-C as a wish to stop, which a run grants after the running step."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def stop_signals():
    """Turn SIGTERM and Ctrl-C into an event, where signals can be handled (the main thread).

    Yields
    ------
    threading.Event
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
