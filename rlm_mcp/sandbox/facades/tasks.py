"""`asyncio` for cells: one loop without threads, whose waiting calls go out as batches."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any

from rlm_mcp.sandbox import guards
from rlm_mcp.sandbox.facades.futures import Future, work_once


class Task(Future):
    """A coroutine that is advanced when somebody waits for it."""

    def __init__(self, coroutine: Any) -> None:
        super().__init__()
        self._coroutine = coroutine
        self._blocked: Future | None = None
        _tasks.append(self)

    def advance_work(self) -> None:
        """Run every task until this one is nearer to its result."""
        _advance_tasks([self])

    def get_name(self) -> str:
        """Return a name."""
        return "Task"

    def step_coroutine(self) -> bool:
        """Run until the coroutine waits again; say whether it got anywhere."""
        if self._done or (self._blocked is not None and not self._blocked._done):
            return False
        self._blocked = None
        try:
            waits_for = self._coroutine.send(None)
        except StopIteration as stop:
            self.set_result(stop.value)
        except guards.CellStop:
            raise
        except BaseException as error:
            self.set_exception(error)
        else:
            self._blocked = waits_for if isinstance(waits_for, Future) else None
        if self._done and self in _tasks:
            _tasks.remove(self)
        return True


_tasks: list[Task] = []


def _advance_tasks(wanted: list[Task]) -> None:
    """Run all tasks until they wait, then do the work that they wait for, batched."""
    while not all(task._done for task in wanted):
        moved = False
        for task in list(_tasks):
            moved = task.step_coroutine() or moved
        if not moved and not work_once():
            raise RuntimeError("every task waits for another: none can go on")


def run(coroutine: Any, **_: Any) -> Any:
    """Run a coroutine to its end."""
    if not hasattr(coroutine, "send"):
        raise ValueError("a coroutine was expected")
    mine = len(_tasks)
    try:
        return Task(coroutine).result()
    finally:
        del _tasks[mine:]


def _as_task(item: Awaitable[Any]) -> Future:
    if isinstance(item, Future):
        return item
    if isinstance(item, types.CoroutineType):
        return Task(item)
    return Task(_waiting_for(item))


async def _waiting_for(item: Awaitable[Any]) -> Any:
    return await item


async def gather(*items: Awaitable[Any], return_exceptions: bool = False) -> list[Any]:
    """Wait for all, in order."""
    tasks = [_as_task(item) for item in items]
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
    await _YieldOnce()
    return result


class _YieldOnce:
    def __await__(self) -> Generator[Any, Any, None]:
        yield None


async def wait_for(item: Awaitable[Any], timeout: float | None = None) -> Any:
    """Wait for one; a cell's own time limit is the limit."""
    return await _as_task(item)


def as_completed(items: Iterable[Awaitable[Any]], **_: Any) -> Iterator[Future]:
    """`asyncio.as_completed`: in order."""
    return iter([_as_task(item) for item in items])


class EventLoop:
    """What `get_event_loop()` gives."""

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *args: Any) -> Future:
        """Collect a call."""
        return Future(function, *args)

    def run_until_complete(self, item: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        return run(item)

    def create_task(self, item: Coroutine[Any, Any, Any]) -> Future:
        """Make a task."""
        return _as_task(item)

    def close(self) -> None:
        """Do nothing."""


class OpenSemaphore:
    """`asyncio.Semaphore` and `asyncio.Lock`, which never have to wait here."""

    def __init__(self, value: int = 1) -> None:
        self._value = value

    async def __aenter__(self) -> OpenSemaphore:
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
        self._made.append(_as_task(item))
        return self._made[-1]

    async def __aenter__(self) -> TaskGroup:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._made:
            await task


def asyncio_exports() -> dict[str, Any]:
    """Return `asyncio` for cells."""
    return {
        "run": run,
        "gather": gather,
        "sleep": sleep,
        "to_thread": to_thread,
        "wait_for": wait_for,
        "create_task": _as_task,
        "ensure_future": _as_task,
        "as_completed": as_completed,
        "Semaphore": OpenSemaphore,
        "BoundedSemaphore": OpenSemaphore,
        "Lock": OpenSemaphore,
        "TaskGroup": TaskGroup,
        "Future": Future,
        "get_event_loop": EventLoop,
        "get_running_loop": EventLoop,
        "new_event_loop": EventLoop,
        "set_event_loop": lambda loop: None,
        "iscoroutine": lambda item: isinstance(item, types.CoroutineType),
        "iscoroutinefunction": lambda item: (
            isinstance(item, types.FunctionType) and bool(item.__code__.co_flags & 0x80)
        ),
        "TimeoutError": TimeoutError,
        "CancelledError": RuntimeError,
    }
