"""Text or Python values made into a validated, typed model. See docs/config.md."""
