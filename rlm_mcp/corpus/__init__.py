"""The data plane: packed bytes, search, chunks, tokens, change watching.

Import the modules (`load`, `search`, `chunk`, `tokens`): they stay light, and pull in numpy,
RE2 and Hyperscan at the first call. Nothing here knows what a context variable is.
"""
