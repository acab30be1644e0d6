"""The model made into tables: pure functions; nothing here opens, resolves or logs."""
