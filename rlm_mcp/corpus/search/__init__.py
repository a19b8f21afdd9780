"""grep: which patterns are accepted, and the matchers that find lines."""
