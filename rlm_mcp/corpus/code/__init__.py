"""Structure of source code: languages, symbols, callers, ranking, borders for chunks."""
