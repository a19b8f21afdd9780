"""Read prompts/*.md into typed values.

A prompt is a text with {{placeholders}}. One that begins with a head of `key: value` lines
between two --- lines and has a description is offered to people as an MCP prompt; the others
(root*, sub*, instructions) are for the engine and the server. Nothing is evaluated: filling in
is plain replacement, once, so that a value which looks like a placeholder stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rlm_mcp import trust
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.trust import ContentFolder, ContentOrigin

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_HEAD = re.compile(r"---\r?\n(.*?)^---\r?\n", re.DOTALL | re.MULTILINE)
_ARGUMENT = re.compile(r"[a-z][a-z_]{0,31}\Z")
_PLACEHOLDER = re.compile(r"\{\{ *([a-z_]+) *\}\}")
_OPTIONAL = "(optional)"


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """What a person can fill in."""

    name: str
    description: str
    required: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as it was read. `description` is empty where it is not offered to people."""

    name: str
    text: str
    origin: ContentOrigin
    path: Path
    title: str = ""
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()
    shadows: str = ""
    """The origin of the prompt of the same name that this one hides."""

    @property
    def is_offered(self) -> bool:
        """Whether people see it in their client."""
        return bool(self.description)

    def fill_in(self, given: Mapping[str, str]) -> str:
        """Return the text with its arguments in place.

        Raises BadRequest for an unknown or a missing argument. A paragraph whose only
        placeholders are optional and not given is left out.
        """
        known = [argument.name for argument in self.arguments]
        for name in given:
            if name not in known:
                raise BadRequest(
                    f"The prompt {self.name} has no argument {name!r}."
                    f"{did_you_mean(name, known)} It takes: {', '.join(known) or 'none'}."
                )
        for argument in self.arguments:
            if argument.required and not str(given.get(argument.name, "")).strip():
                raise BadRequest(f"The prompt {self.name} needs {argument.name!r}.")
        paragraphs = []
        for paragraph in self.text.split("\n\n"):
            names = [name for name in _PLACEHOLDER.findall(paragraph) if name in known]
            if names and not any(given.get(name) for name in names):
                continue
            paragraphs.append(
                _PLACEHOLDER.sub(
                    lambda match: given.get(match[1], "") if match[1] in known else match[0],
                    paragraph,
                )
            )
        return "\n\n".join(paragraphs).strip() + "\n"


class Promptbook(list[Prompt]):
    """Prompts by name; `problems` says what was left out and why."""

    problems: list[str]

    @property
    def texts_by_name(self) -> dict[str, str]:
        """Return every prompt's text by name, as the engine takes them."""
        return {prompt.name: prompt.text for prompt in self}


def read_prompts(folders: Iterable[ContentFolder | Path] | None = None) -> Promptbook:
    """Read prompts, those of a later folder hiding earlier ones of the same name.

    Without `folders`: ours and the user's. A broken file costs a sentence in `problems`.
    """
    by_name: dict[str, Prompt] = {}
    problems: list[str] = []
    for item in trust.content_folders("prompts") if folders is None else folders:
        folder = item if isinstance(item, ContentFolder) else ContentFolder(item)
        pages, refused = trust.usable_files(folder, "prompts")
        problems += refused
        for page in pages:
            try:
                prompt = parse_prompt(page)
            except BadRequest as error:
                problems.append(f"{page.path} was left out: {error}")
                continue
            hidden = by_name.get(prompt.name)
            if hidden is not None:
                problems.append(f"{page.path} hides the prompt {prompt.name} of {hidden.origin}.")
                prompt = replace(prompt, shadows=hidden.origin)
            by_name[prompt.name] = prompt
    found = Promptbook(sorted(by_name.values(), key=lambda prompt: prompt.name))
    found.problems = problems
    return found


def parse_prompt(page: trust.ContentFile) -> Prompt:
    """Read one prompt file. Raises BadRequest with the reason why it is none."""
    if not _NAME.match(page.name):
        raise BadRequest(f"{page.name!r} cannot be the name of a prompt (lower-case words).")
    match = _HEAD.match(page.text)
    if match is None:
        return Prompt(page.name, page.text, page.origin, page.path)
    title = description = ""
    arguments: list[PromptArgument] = []
    for line in match[1].splitlines():
        if not line.strip():
            continue
        key, colon, value = line.partition(":")
        words, value = key.split(), value.strip()
        if not colon or not value:
            raise BadRequest(f"its head has a line without `key: value`: {line[:60]!r}.")
        match words:
            case ["title"]:
                title = value
            case ["description"]:
                description = value
            case ["argument", name] if _ARGUMENT.match(name):
                arguments.append(_parse_argument(name, value))
            case _:
                raise BadRequest(
                    f"its head has an unknown key {key.strip()!r} (title, description, "
                    "argument NAME)."
                )
    text = page.text[match.end() :].strip() + "\n"
    return Prompt(page.name, text, page.origin, page.path, title, description, tuple(arguments))


def _parse_argument(name: str, value: str) -> PromptArgument:
    required = not value.endswith(_OPTIONAL)
    return PromptArgument(name, value.removesuffix(_OPTIONAL).strip(), required)
