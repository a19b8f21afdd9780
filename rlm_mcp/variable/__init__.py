"""Context variables: the protocol, its method calls, windows and stale refs."""
