"""`python -m rlm_mcp.cli` is `rlm-mcp`, for where only an interpreter can be named."""

from rlm_mcp.cli.main import main

if __name__ == "__main__":
    main()
