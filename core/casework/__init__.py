"""From files to a finished case, one file a kind of work."""
