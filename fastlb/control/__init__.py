"""What changes while running: names, states, and the log lines that tell of them."""
