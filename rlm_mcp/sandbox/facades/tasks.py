"""`concurrent.futures` and `asyncio` for cells: no threads, and calls of sub-models still at once.

Work is collected until a result is asked for. Calls of a function that has a batched form
(`llm_query` and `llm_query_batched`) then go out as one batch; everything else runs in order.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any

from rlm_mcp.sandbox import guards

Find = Callable[[Callable[..., Any]], Callable[[list[Any]], list[Any]] | None]


def _no_batch(function: Callable[..., Any]) -> None:
    return None


find_batched: Find = _no_batch
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
        self._finish(value, None)

    def set_exception(self, error: BaseException) -> None:
        """Finish with an error."""
        self._finish(None, error)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        self._done, self._value, self._error, self._function = True, value, error, None
        for callback in self._callbacks:
            callback(self)

    def result(self, timeout: float | None = None) -> Any:
        """Return the value, doing the work first; raises what the work raised."""
        _settle(self)
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error of the work, or None."""
        _settle(self)
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

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self._done:
            yield self
        return self.result()


def _settle(wanted: Future) -> None:
    while not wanted._done:
        if isinstance(wanted, Task):
            _advance([wanted])
        elif _waiting:
            _work_once()
        else:
            raise RuntimeError("this future is never finished by anything")


def _work_once() -> None:
    """Do the first piece of waiting work, together with all that fit into one batch with it."""
    first = _waiting.popleft()
    if first._done or first._function is None:
        return
    batched = find_batched(first._function) if _one_argument(first) else None
    if batched is None:
        _do(first)
        return
    group = [first]
    for other in list(_waiting):
        if other._function is first._function and _one_argument(other):
            group.append(other)
            _waiting.remove(other)
    try:
        values = batched([future._args[0] for future in group])
    except guards.Stop:
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


def _do(future: Future) -> None:
    assert future._function is not None
    try:
        value = future._function(*future._args, **future._named)
    except guards.Stop:
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
            _settle(future)
        self._futures = []


def as_completed(futures: Iterable[Future], timeout: float | None = None) -> Iterator[Future]:
    """Yield futures as their work is done: in order."""
    for future in list(futures):
        _settle(future)
        yield future


def wait(futures: Iterable[Future], *_: Any, **__: Any) -> Any:
    """Do the work of all futures."""
    held = set(futures)
    for future in held:
        _settle(future)
    return types.SimpleNamespace(done=held, not_done=set())


class Task(Future):
    """A coroutine that is advanced when somebody waits for it."""

    def __init__(self, coroutine: Any) -> None:
        super().__init__()
        self._coroutine = coroutine
        self._blocked: Future | None = None
        _tasks.append(self)

    def get_name(self) -> str:
        """Return a name."""
        return "Task"

    def step(self) -> bool:
        """Run until the coroutine waits again; say whether it got anywhere."""
        if self._done or (self._blocked is not None and not self._blocked._done):
            return False
        self._blocked = None
        try:
            waits_for = self._coroutine.send(None)
        except StopIteration as stop:
            self.set_result(stop.value)
        except guards.Stop:
            raise
        except BaseException as error:
            self.set_exception(error)
        else:
            self._blocked = waits_for if isinstance(waits_for, Future) else None
        if self._done and self in _tasks:
            _tasks.remove(self)
        return True


_tasks: list[Task] = []


def _advance(wanted: list[Task]) -> None:
    """Run all tasks until they wait, then do the work that they wait for, batched."""
    while not all(task._done for task in wanted):
        moved = False
        for task in list(_tasks):
            moved = task.step() or moved
        if not moved:
            if not _waiting:
                raise RuntimeError("every task waits for another: none can go on")
            _work_once()


def run(coroutine: Any, **_: Any) -> Any:
    """Run a coroutine to its end."""
    if not hasattr(coroutine, "send"):
        raise ValueError("a coroutine was expected")
    mine = len(_tasks)
    try:
        return Task(coroutine).result()
    finally:
        del _tasks[mine:]


def _task(item: Awaitable[Any]) -> Future:
    if isinstance(item, Future):
        return item
    if isinstance(item, types.CoroutineType):
        return Task(item)
    return Task(_waiting_for(item))


async def _waiting_for(item: Awaitable[Any]) -> Any:
    return await item


async def gather(*items: Awaitable[Any], return_exceptions: bool = False) -> list[Any]:
    """Wait for all, in order."""
    tasks = [_task(item) for item in items]
    values = []
    for task in tasks:
        try:
            values.append(await task)
        except Exception as error:
            if not return_exceptions:
                raise
            values.append(error)
    return values


async def to_thread(function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    """Collect a call, and wait for it: calls of several tasks go out together."""
    return await Future(function, *args, **named)


async def sleep(delay: float, result: Any = None) -> Any:
    """Let others go first; nothing is gained by waiting here."""
    await _Turn()
    return result


class _Turn:
    def __await__(self) -> Generator[Any, Any, None]:
        yield None


async def wait_for(item: Awaitable[Any], timeout: float | None = None) -> Any:
    """Wait for one; a cell's own time limit is the limit."""
    return await _task(item)


def completed(items: Iterable[Awaitable[Any]], **_: Any) -> Iterator[Future]:
    """`asyncio.as_completed`: in order."""
    return iter([_task(item) for item in items])


class Loop:
    """What `get_event_loop()` gives."""

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *args: Any) -> Future:
        """Collect a call."""
        return Future(function, *args)

    def run_until_complete(self, item: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        return run(item)

    def create_task(self, item: Coroutine[Any, Any, Any]) -> Future:
        """Make a task."""
        return _task(item)

    def close(self) -> None:
        """Do nothing."""


class Gate:
    """`asyncio.Semaphore` and `asyncio.Lock`, which never have to wait here."""

    def __init__(self, value: int = 1) -> None:
        self._value = value

    async def __aenter__(self) -> Gate:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def acquire(self) -> bool:
        """Go on."""
        return True

    def release(self) -> None:
        """Do nothing."""


class TaskGroup:
    """`asyncio.TaskGroup`."""

    def __init__(self) -> None:
        self._made: list[Future] = []

    def create_task(self, item: Coroutine[Any, Any, Any], **_: Any) -> Future:
        """Add a task."""
        self._made.append(_task(item))
        return self._made[-1]

    async def __aenter__(self) -> TaskGroup:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._made:
            await task


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


def asyncio_exports() -> dict[str, Any]:
    """Return `asyncio` for cells."""
    return {
        "run": run,
        "gather": gather,
        "sleep": sleep,
        "to_thread": to_thread,
        "wait_for": wait_for,
        "create_task": _task,
        "ensure_future": _task,
        "as_completed": completed,
        "Semaphore": Gate,
        "BoundedSemaphore": Gate,
        "Lock": Gate,
        "TaskGroup": TaskGroup,
        "Future": Future,
        "get_event_loop": Loop,
        "get_running_loop": Loop,
        "new_event_loop": Loop,
        "set_event_loop": lambda loop: None,
        "iscoroutine": lambda item: isinstance(item, types.CoroutineType),
        "iscoroutinefunction": lambda item: (
            isinstance(item, types.FunctionType) and bool(item.__code__.co_flags & 0x80)
        ),
        "TimeoutError": TimeoutError,
        "CancelledError": RuntimeError,
    }
