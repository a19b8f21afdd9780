"""The sandboxed Python environment for code that a model wrote.

The security boundary is the worker process and its kernel layer (jail/). The language layer
(policy, guards, facades) keeps code inside the API and its errors readable; it is not a boundary.
A cell may be told what its contexts hold, and may say it to sub-models: that is not prevented here.
"""

from rlm_mcp.sandbox.sandbox import Sandbox, sandbox_layers
from rlm_mcp.sandbox.wire_values import (
    LONG_ANSWER_NAME,
    AfterCell,
    Attachment,
    BindingAnswer,
    HostFunctionError,
    SandboxLimits,
    SandboxOutcome,
)

__all__ = [
    "LONG_ANSWER_NAME",
    "AfterCell",
    "Attachment",
    "BindingAnswer",
    "HostFunctionError",
    "Sandbox",
    "SandboxLimits",
    "SandboxOutcome",
    "sandbox_layers",
]
