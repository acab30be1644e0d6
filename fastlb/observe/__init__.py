"""What is seen from outside: metrics, the access log, records, traces."""
