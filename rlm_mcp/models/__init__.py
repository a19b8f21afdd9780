"""Models: one protocol, `Model.complete(request) -> reply`, and its providers."""

from rlm_mcp.models.model_choice import available_models, choose_model, default_model

__all__ = ["available_models", "choose_model", "default_model"]
