"""The process around the engines: sockets, threads, signals."""
