"""The simulated model server: a thread with an event loop, serving both dialects on loopback.

    with SimServer(["first reply", "second"]) as sim:
        os.environ["ANTHROPIC_BASE_URL"] = sim.url

What it serves comes from a mind (tests.sim.minds), from a list of replies used in order, or,
by default, from the model's name (`sim-root:<policy>`, anything else an oracle). Call faults are
injected by number or share. Everything that was sent is in `requests`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from tests.sim import chat, messages, minds
from tests.sim.cache import PromptCache, prefixes_of
from tests.sim.call import Logged, Mind, Refused, Say
from tests.sim.dialect import Dialect, truncate
from tests.sim.faults import STATUS, TYPE, Fault, Faults
from tests.sim.http import Gone, HttpRequest, Wire

BACKLOG = 512
"""The default of 100 (5 for http.server) resets connections when a fan-out begins."""


class SimServer:
    """A context manager; `url` is its base URL. Thread-safe to read while it serves."""

    def __init__(
        self,
        mind: Mind | Sequence[Say | str] | None = None,
        *,
        faults: Collection[Fault] = (),
        seed: int = 0,
        latency_s: float = 0.0,
        window: int = 1_000_000,
        cache_life_s: float = 300.0,
        port: int = 0,
        cached_share: float = 0.0,
        no_usage: bool = False,
    ) -> None:
        self.mind: Mind = minds.of(mind)
        self.faults = Faults(faults, seed)
        self.latency_s = latency_s
        self._messages = messages.Messages(PromptCache(cache_life_s), window)
        self._chat = chat.Chat(window, cached_share, no_usage)
        self.requests: list[Logged] = []
        self.active = 0
        self.peak = 0
        self.url = ""
        self._port = port
        self._count = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sim", daemon=True)
        self._ready = threading.Event()
        self._failed: BaseException | None = None

    @property
    def calls(self) -> list[Logged]:
        """Return the model calls among the requests."""
        return [logged for logged in self.requests if logged.number]

    def __enter__(self) -> SimServer:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_default_executor(ThreadPoolExecutor(64, "sim"))  # minds that take their time
        try:
            server = self._loop.run_until_complete(
                asyncio.start_server(
                    self._connection, "127.0.0.1", self._port, backlog=BACKLOG, limit=1 << 20
                )
            )
        except OSError as error:
            self._failed = error
            self._ready.set()
            return
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        try:
            while (request := await wire.request()) is not None:
                if not await self._serve(wire, request):
                    break
        except asyncio.CancelledError:
            pass
        finally:
            await wire.close()

    async def _serve(self, wire: Wire, request: HttpRequest) -> bool:
        """Serve one request; say whether the connection can take another."""
        log = Logged(0, request.method, request.path, request.headers, request.body)
        log.began_s = time.monotonic()
        self.requests.append(log)
        work = asyncio.ensure_future(self._answer(wire, request, log))
        gone = asyncio.ensure_future(wire.gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            log.outcome = "cancelled"
            return False
        except Gone:
            log.outcome = "cancelled"
            return False
        finally:
            log.ended_s = time.monotonic()
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _answer(self, wire: Wire, request: HttpRequest, log: Logged) -> bool:
        path = request.path.partition("?")[0]
        if request.method == "POST" and path in ("/v1/messages", "/v1/chat/completions"):
            self._count += 1
            log.number = self._count
            self.active += 1
            self.peak = max(self.peak, self.active)
            try:
                return await self._model_call(wire, path, log)
            finally:
                self.active -= 1
        status, value = self._small(request.method, path, request.body)
        log.status, log.outcome = status, "answered"
        await wire.json(status, value, head=request.method == "HEAD")
        return True

    def _small(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Return the reply to anything that is no model call."""
        if path == "/v1/messages/count_tokens":
            try:
                messages.check(body)
            except Refused as error:
                return error.status, messages.error_body(error.kind, str(error))
            return 200, {"input_tokens": prefixes_of(body)[-1].tokens}
        if path == "/v1/models":
            return 200, {"data": minds.MODELS, "has_more": False, "object": "list"}
        if method in ("HEAD", "GET") and path in ("/", "/health"):
            return 200, {}
        return 404, messages.error_body("not_found_error", f"no {method} {path} here")

    async def _model_call(self, wire: Wire, path: str, log: Logged) -> bool:
        dialect: Dialect = self._messages if path == "/v1/messages" else self._chat
        fault = self.faults.of(log.number, log.body)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if fault is not None:
            log.outcome = fault.kind
            if not fault.kind.endswith("_stream"):
                return await self._fail(wire, fault, dialect, log)
        try:
            call = dialect.read(log.body, log.number)
            log.model = call.model
            say = await asyncio.to_thread(self.mind, call)
        except Refused as error:
            log.status, log.outcome = error.status, "refused"
            await wire.json(error.status, dialect.error(error.kind, str(error)))
            return True
        reply = truncate(Say(say) if isinstance(say, str) else say, call.max_tokens)
        await asyncio.sleep(reply.delay_s)
        log.status = 200
        if fault is None:
            log.outcome = "answered"
        return await dialect.send(wire, call, reply, log, fault)

    async def _fail(self, wire: Wire, fault: Fault, dialect: Dialect, log: Logged) -> bool:
        if fault.kind == "stall":
            await asyncio.Event().wait()
        if fault.kind == "drop":
            wire.drop()
            return False
        if fault.kind in ("malformed", "misshapen"):
            log.status = 200
            await wire.json(200, b'{"id": "msg' if fault.kind == "malformed" else {"odd": [1]})
            return True
        if fault.kind == "body":
            log.status = 200
            await wire.json(200, fault.body, {"content-type": fault.content_type})
            return True
        log.status = STATUS[fault.kind]
        wish = fault.retry_after_s
        asked = fault.retry_after if wish is None else f"{wish:g}"
        headers = {"retry-after": asked} if asked else {}
        body = dialect.error(TYPE[fault.kind], f"simulated {fault.kind}")
        await wire.json(log.status, body, headers)
        return True
