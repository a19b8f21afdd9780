"""Ask a question about a folder. Usage: python examples/ask_folder.py FOLDER QUESTION

`extractive:` needs no key: it ranks and quotes passages. Pass another spec to `RLM(model=...)`,
such as "anthropic:claude-haiku-4-5", to let a model read.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rlm_mcp import RLM


def main(folder: str, question: str) -> None:
    answer = RLM(model="extractive:").complete(question, context=Path(folder))
    print(answer)
    print(f"\n{answer.result.status}, {answer.result.calls} call, ${answer.result.cost_usd:.2f}")
    for item in answer.result.evidence:
        print("verified" if item.verified else "not verified", item.ref)


if __name__ == "__main__":
    main(*sys.argv[1:])
