"""`concurrent.futures` for cells: no threads, and calls of sub-models still at once.

Work is collected until a result is asked for. Calls of a function that has a batched form
(`llm_query` and `llm_query_batched`) then go out as one batch; everything else runs in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from rlm_mcp.sandbox import guards
from rlm_mcp.sandbox.facades.containers import SimpleNamespace

FindBatched = Callable[[Callable[..., Any]], Callable[[list[Any]], list[Any]] | None]


def _no_batch(function: Callable[..., Any]) -> None:
    return None


find_batched: FindBatched = _no_batch
"""Set by the environment: the batched form of a function, or None."""
_waiting: deque[Future] = deque()


class Future:
    """The result of work that is done when it is asked for."""

    def __init__(self, function: Callable[..., Any] | None = None, *args: Any, **kw: Any) -> None:
        self._function = function
        self._args = args
        self._named = kw
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], Any]] = []
        if function is not None:
            _waiting.append(self)

    def set_result(self, value: Any) -> None:
        """Finish with a value."""
        self._finish_with(value, None)

    def set_exception(self, error: BaseException) -> None:
        """Finish with an error."""
        self._finish_with(None, error)

    def _finish_with(self, value: Any, error: BaseException | None) -> None:
        self._done, self._value, self._error, self._function = True, value, error, None
        for callback in self._callbacks:
            callback(self)

    def result(self, timeout: float | None = None) -> Any:
        """Return the value, doing the work first; raises what the work raised."""
        _settle_future(self)
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error of the work, or None."""
        _settle_future(self)
        return self._error

    def done(self) -> bool:
        """Say whether the work was done."""
        return self._done

    def cancelled(self) -> bool:
        """Say whether it was cancelled: never, here."""
        return False

    def running(self) -> bool:
        """Say whether it runs in another thread: never, here."""
        return False

    def cancel(self) -> bool:
        """Refuse: there is nothing to stop."""
        return False

    def add_done_callback(self, function: Callable[[Any], Any]) -> None:
        """Call a function when the work is done."""
        if self._done:
            function(self)
        else:
            self._callbacks.append(function)

    def advance_work(self) -> None:
        """Bring this future nearer to its result."""
        if not work_once():
            raise RuntimeError("this future is never finished by anything")

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self._done:
            yield self
        return self.result()


def _settle_future(wanted: Future) -> None:
    while not wanted._done:
        wanted.advance_work()


def work_once() -> bool:
    """Do the first piece of waiting work, together with all that fit into one batch with it."""
    if not _waiting:
        return False
    first = _waiting.popleft()
    if not first._done and first._function is not None:
        _work_batch(first, first._function)
    return True


def _work_batch(first: Future, function: Callable[..., Any]) -> None:
    batched = find_batched(function) if _one_argument(first) else None
    if batched is None:
        _work_single(first)
        return
    group = [first]
    for other in list(_waiting):
        if other._function is function and _one_argument(other):
            group.append(other)
            _waiting.remove(other)
    try:
        values = batched([future._args[0] for future in group])
    except guards.CellStop:
        raise
    except BaseException as error:
        for future in group:
            future.set_exception(error)
        return
    for future, value in zip(group, values, strict=True):
        if type(value).__name__ == "Failure":
            future.set_exception(RuntimeError(str(value)))
        else:
            future.set_result(value)


def _one_argument(future: Future) -> bool:
    return len(future._args) == 1 and not future._named


def _work_single(future: Future) -> None:
    assert future._function is not None
    try:
        value = future._function(*future._args, **future._named)
    except guards.CellStop:
        raise
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(value)


class Executor:
    """`ThreadPoolExecutor` and `ProcessPoolExecutor` without threads or processes."""

    def __init__(self, max_workers: int | None = None, *_: Any, **__: Any) -> None:
        self._futures: list[Future] = []

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future:
        """Collect a call."""
        future = Future(function, *args, **named)
        self._futures.append(future)
        return future

    def map(
        self,
        function: Callable[..., Any],
        *items: Iterable[Any],
        timeout: Any = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Collect a call for each item, and yield the results in order."""
        futures = [self.submit(function, *args) for args in zip(*items, strict=False)]
        return (future.result() for future in futures)

    def shutdown(self, wait: bool = True, **_: Any) -> None:
        """Do what was collected."""
        for future in self._futures:
            _settle_future(future)
        self._futures = []


def as_completed(futures: Iterable[Future], timeout: float | None = None) -> Iterator[Future]:
    """Yield futures as their work is done: in order."""
    for future in list(futures):
        _settle_future(future)
        yield future


def wait(futures: Iterable[Future], *_: Any, **__: Any) -> Any:
    """Do the work of all futures."""
    held = set(futures)
    for future in held:
        _settle_future(future)
    return SimpleNamespace(done=held, not_done=set())


def futures_exports() -> dict[str, Any]:
    """Return `concurrent.futures` for cells."""
    return {
        "ThreadPoolExecutor": Executor,
        "ProcessPoolExecutor": Executor,
        "Future": Future,
        "as_completed": as_completed,
        "wait": wait,
        "ALL_COMPLETED": "ALL_COMPLETED",
        "FIRST_COMPLETED": "FIRST_COMPLETED",
        "TimeoutError": TimeoutError,
    }
