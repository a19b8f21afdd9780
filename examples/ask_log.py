"""Ask a question about a log file. Usage: python examples/ask_log.py LOG QUESTION"""

from __future__ import annotations

import sys
from pathlib import Path

from rlm_mcp import RLM


def main(log: str, question: str) -> None:
    answer = RLM(model="extractive:", budget={"seconds": 60}).complete(question, context=Path(log))
    print(answer)
    for item in answer.result.evidence:
        print("verified" if item.verified else "not verified", item.ref)


if __name__ == "__main__":
    main(*sys.argv[1:])
