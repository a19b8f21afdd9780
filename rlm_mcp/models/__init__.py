"""Models: one protocol, `Model.complete(request) -> reply`, and its providers."""
