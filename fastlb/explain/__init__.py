"""Why a request goes where it goes, and where those of a log would go."""
