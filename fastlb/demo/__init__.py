"""`fastlb demo`: three origins, a balancer, a client and a table, all in one process."""
