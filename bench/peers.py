"""Run the official library (`rlms`) on the engine benchmark's script; prints seconds as JSON.

Run by bench/engine.py under a Python that has the package (`--peers`): it is no dependency of ours.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main(url: str, megabytes: float, rounds: int) -> None:
    """Complete the scripted question `rounds` times over a context of `megabytes`."""
    import rlm  # type: ignore[import-not-found, unused-ignore]

    line = "some words of an ordinary line of text, with a needle in some of them\n"
    context = line * int(megabytes * 1e6 / len(line))
    backend: dict[str, Any] = {
        "model_name": "claude-haiku-5-5",
        "api_key": "simulated",
        "base_url": f"{url}/v1",
    }
    seconds, answers = [], []
    for number in range(rounds + 1):
        began = time.perf_counter()
        model = rlm.RLM(backend="openai", backend_kwargs=backend, max_iterations=30)
        done = model.completion(context, root_prompt=f"How many, {number}?")
        seconds.append(time.perf_counter() - began)
        answers.append(str(done.response))
    print(json.dumps({"seconds": seconds[1:], "answers": answers[1:]}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
