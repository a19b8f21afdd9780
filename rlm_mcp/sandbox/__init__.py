"""The sandboxed Python environment for code that a model wrote.

The security boundary is the worker process and its kernel layer (jail/). The language layer
(policy, guards, facades) keeps code inside the API and its errors readable; it is not a boundary.
A cell may be told what its contexts hold, and may say it to sub-models: that is not prevented here.
"""

from rlm_mcp.sandbox.sandbox import Sandbox, layers
from rlm_mcp.sandbox.values import LONG, After, Attachment, Bound, HostError, Limits, Outcome

__all__ = [
    "LONG",
    "After",
    "Attachment",
    "Bound",
    "HostError",
    "Limits",
    "Outcome",
    "Sandbox",
    "layers",
]
