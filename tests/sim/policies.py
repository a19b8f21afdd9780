"""Root models by habit: each writes cells by a rule, over what it has been sent so far.

A policy is called once a turn and sees the whole conversation; it keeps no state.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.sim.call import Call, Refused, Say

_QUESTION = re.compile(r"<question>\s*(.*?)\s*</question>", re.DOTALL | re.IGNORECASE)


def named(name: str, call: Call) -> Say | str:
    """Take one turn by a policy's name."""
    name, _, argument = name.partition("=")
    if name not in POLICIES:
        raise Refused(f"model: sim-root:{name}", 404, "not_found_error")
    return POLICIES[name](call, argument)


def question(call: Call) -> str:
    """Return the question of a run: what is marked as one, else the first message."""
    first = call.turns[0].text
    found = _QUESTION.search(first)
    return found[1] if found else first


def cell(code: str, said: str = "Next cell.") -> str:
    """Return a turn that holds one cell."""
    return f"{said}\n```repl\n{code}\n```"


def final(expression: str) -> str:
    """Return the turn that ends a run with the value of an expression."""
    return cell(f"answer['content'] = {expression}\nanswer['ready'] = True", "Done.")


def direct(call: Call, argument: str) -> str:
    """Answer at once, without a look at the context."""
    return final(repr(argument or "I did not look."))


def grep_read(call: Call, argument: str) -> str:
    """Search for a name of the question, read around the first hit, answer with the text."""
    names = re.findall(r"\b[A-Z]\w+\b|\b\w+_\w+\b", question(call))
    wanted = argument or (max(names, key=len) if names else "def")
    if call.replies == 0:
        return cell(f"hits = grep({wanted!r}, limit=5)\nprint(hits[0].ref, hits.total)")
    if call.replies == 1:
        return cell("window = peek(hits[0].ref, 5)\nprint(window)")
    return final("hits[0].ref + ': ' + hits[0].text")


def map_chunks(call: Call, argument: str) -> str:
    """Cut the main variable into chunks, ask about each at once, and join the answers."""
    if call.replies == 0:
        return cell(
            f"parts = chunk('repo', tokens={int(argument or 2000)})\n"
            f"prompts = [{question(call)!r} + '\\n\\n' + peek(p.ref, 10000) for p in parts]\n"
            "answers = llm_query_batched(prompts)\nprint(len(answers))"
        )
    return final("'\\n'.join(str(a) for a in answers)")


def map_lines(call: Call, argument: str) -> str:
    """Ask about every line by a call of its own: the habit that costs thousands of calls."""
    if call.replies == 0:
        return cell(
            f"lines = str(context).splitlines()[:{int(argument or 1000)}]\n"
            f"answers = [llm_query({question(call)!r} + '\\n' + line) for line in lines]"
        )
    return final("str(len(answers))")


def verify_loop(call: Call, argument: str) -> str:
    """Check the same thing again and again, then answer from memory."""
    if call.replies < int(argument or 6):
        return cell("print('checking', len(str(SHOW_VARS())))", f"Check {call.replies}.")
    return final("'as I remembered'")


def never_final(call: Call, argument: str) -> str:
    """Work for ever and never answer."""
    return cell(f"turn = {call.replies}\nprint('still looking', turn)")


def print_everything(call: Call, argument: str) -> str:
    """Print far more than any window holds."""
    if call.replies < int(argument or 3):
        return cell("print('x' * 3_000_000)")
    return final("'printed'")


def fork_bomb(call: Call, argument: str) -> str:
    """Start child runs that start child runs, as many as it can."""
    if call.replies == 0:
        asked = question(call)
        return cell(f"got = rlm_query_batched([{asked!r} + str(n) for n in range(8)])\nprint(got)")
    return final("str(got)")


def wrong_protocol(call: Call, argument: str) -> str:
    """Say prose, unclosed fences and other languages, never a cell that runs."""
    kinds = ["The answer is 42.", "```bash\nls -la\n```", "```repl\nprint(1", "<tool>run</tool>"]
    return kinds[call.replies % len(kinds)]


def broken_code(call: Call, argument: str) -> str:
    """Write cells that fail."""
    return cell(["1 / 0", "def", "import os", "missing_name"][call.replies % 4])


def printed_answer(call: Call, argument: str) -> str:
    """Print the answer and never set it, then say that it is done."""
    return cell("print('The answer is 42')") if call.replies == 0 else "I am done."


def recurse(call: Call, argument: str) -> str:
    """Hand the question down to one child run after another, to the depth that is allowed."""
    if call.replies == 0:
        return cell(
            f"try:\n    below = rlm_query({question(call)!r})\n"
            "except Exception as error:\n    below = f'the bottom ({error})'\nprint(below)"
        )
    return final("'from below: ' + str(below)")


POLICIES: dict[str, Callable[[Call, str], str]] = {
    "direct": direct,
    "grep_read": grep_read,
    "map": map_chunks,
    "map_per_line": map_lines,
    "verify_loop": verify_loop,
    "never_final": never_final,
    "print_everything": print_everything,
    "fork_bomb": fork_bomb,
    "wrong_protocol": wrong_protocol,
    "broken_code": broken_code,
    "printed_answer": printed_answer,
    "recurse": recurse,
}
