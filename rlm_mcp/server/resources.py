"""Resources: open contexts and kept results by address, for clients that show such things.

A resource is another way to call a tool: rlm://contexts is contexts(), rlm://ref/<ref> is
peek(ref). Nothing is readable here that the tools would not show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from mcp_types import Resource, ResourceTemplate

from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.engine import Workspace

_SCHEME = "rlm://"
_MOST = 100

TEMPLATES = [
    ResourceTemplate(
        uri_template="rlm://ref/{+ref}",
        name="ref",
        title="Any ref",
        description="A verbatim window: rlm://ref/repo:src/a.py%23L10-L42, rlm://ref/r7",
        mime_type="text/plain",
    )
]


def listed(workspace: Workspace | None) -> list[Resource]:
    """Return what is open and what is kept, newest last, at most a hundred."""
    found = [_resource("contexts", "contexts", "What is open, and what could be")]
    if workspace is None:
        return found
    for name in workspace.catalog.names():
        found.append(_resource(f"ref/{quote(name)}", name, f"The context variable {name}"))
    for handle in list(workspace.handles.names())[-_MOST:]:
        found.append(_resource(f"ref/{quote(handle)}", handle, "A whole result, kept"))
    return found


def as_call(uri: str) -> tuple[str, dict[str, Any]]:
    """Return the tool call that a resource stands for. Raises BadRequest."""
    path = uri.removeprefix(_SCHEME)
    if path.rstrip("/") == "contexts":
        return "contexts", {}
    kind, slash, rest = path.partition("/")
    if path == uri or kind != "ref" or not slash or not rest:
        raise BadRequest(f"There is no resource {uri[:80]!r}; rlm://ref/<ref> reads any ref.")
    return "peek", {"ref": unquote(rest)}


def _resource(path: str, name: str, description: str) -> Resource:
    return Resource(
        uri=f"{_SCHEME}{path}", name=name, description=description, mime_type="text/plain"
    )
