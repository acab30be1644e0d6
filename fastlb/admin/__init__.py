"""The admin API: a running process told over HTTP what to do, and asked what it does."""
