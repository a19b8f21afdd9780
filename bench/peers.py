"""Run another library on the engine benchmark's script; prints its seconds and answers as JSON.

    python bench/peers.py NAME URL MEGABYTES ROUNDS

Run by bench/engine.py under a Python that has the library (the extra `peers`): none of them is a
dependency of ours. Each is set up as its documentation does, with one exception: dspy may make 200
sub-calls, since with its default of 50 it refuses the script, and runs cells in its subprocess
interpreter, since its default one is fetched from the network.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Ask = Callable[[str, str], str]
"""Answers a question about a context."""


def rlms(url: str) -> Ask:
    """Return the official library (alexzhang13/rlm), as PyPI has it."""
    import rlm  # type: ignore[import-not-found, unused-ignore]

    backend: dict[str, Any] = {
        "model_name": "claude-haiku-5-5",
        "api_key": "simulated",
        "base_url": f"{url}/v1",
    }

    def ask(context: str, question: str) -> str:
        model = rlm.RLM(backend="openai", backend_kwargs=backend, max_iterations=30)
        return str(model.completion(context, root_prompt=question).response)

    return ask


def dspy(url: str) -> Ask:
    """Return `dspy.RLM`."""
    import dspy  # type: ignore[import-not-found, unused-ignore]
    from dspy.primitives.local_interpreter import (  # type: ignore[import-not-found, unused-ignore]
        LocalInterpreter,
    )

    lm = dspy.LM("openai/claude-haiku-5-5", api_base=f"{url}/v1", api_key="simulated", cache=False)
    dspy.configure(lm=lm)

    def ask(context: str, question: str) -> str:
        model = dspy.RLM(
            "context, question -> answer", max_llm_calls=200, interpreter_factory=LocalInterpreter
        )
        return str(model(context=context, question=question).answer)

    return ask


PEERS: dict[str, Callable[[str], Ask]] = {"rlms": rlms, "dspy": dspy}


def main(name: str, url: str, megabytes: float, rounds: int) -> None:
    """Answer the scripted question `rounds` times over a context of `megabytes`, after one more."""
    line = "some words of an ordinary line of text, with a needle in some of them\n"
    context = line * int(megabytes * 1e6 / len(line))
    ask = PEERS[name](url)
    seconds, answers = [], []
    for number in range(rounds + 1):
        began = time.perf_counter()
        answers.append(ask(context, f"How many, {number}?"))
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds[1:], "answers": answers[1:]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
