"""Models: one protocol, `Model.complete(request) -> reply`, and its providers.

`choose_model` makes one from its spec. What a reply used and cost is a part of the reply; a call
that failed before it could be paid is sent again, and `watch_retries` sees each send.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.models.model import ChatMessage, Model, ModelReply, ModelRequest, Price, TokenUsage
    from rlm_mcp.models.model_choice import available_models, choose_model
    from rlm_mcp.models.retry import TELL_WAIT, watch_retries
    from rlm_mcp.models.sampling import SampledReply, lend_client
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "ChatMessage": "model",
            "Model": "model",
            "ModelReply": "model",
            "ModelRequest": "model",
            "Price": "model",
            "SampledReply": "sampling",
            "TELL_WAIT": "retry",
            "TokenUsage": "model",
            "available_models": "model_choice",
            "choose_model": "model_choice",
            "lend_client": "sampling",
            "watch_retries": "retry",
        },
    )

__all__ = [
    "TELL_WAIT",
    "ChatMessage",
    "Model",
    "ModelReply",
    "ModelRequest",
    "Price",
    "SampledReply",
    "TokenUsage",
    "available_models",
    "choose_model",
    "lend_client",
    "watch_retries",
]
