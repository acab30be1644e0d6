"""Small experiments, each with what it found written beside it."""
