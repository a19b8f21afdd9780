"""`python -Im rlm_mcp.cli` is `rlm-mcp`, isolated from PYTHONPATH and the current folder."""

from rlm_mcp.cli.main import main

if __name__ == "__main__":
    main()
