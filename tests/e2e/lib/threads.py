"""Calls beside the test's own, each in a thread of its own.

What such a call raises is raised where its result is asked for; in a mere
thread it would be lost.
"""
from concurrent import futures


def begin(call, *args, **params):
    """The call, begun: .result() waits for its end, .done() tells it."""
    pool = futures.ThreadPoolExecutor(1)
    future = pool.submit(call, *args, **params)
    pool.shutdown(wait=False)
    return future


def all_of(call, items):
    """The results of call(item) for all items at once, in their order; the
    first that failed is raised when all have ended."""
    begun = [begin(call, item) for item in items]
    futures.wait(begun)
    return [one.result() for one in begun]
