"""The MCP face: tools, prompts, resources, progress, cancellation; over stdio and HTTP.

It does no work of its own and runs no model code: every call goes to the engine's workspace, and
every text that leaves passes the limiter.
"""
