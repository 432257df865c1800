"""White-box membership: signals, null models, and the line that the verdict rests on."""
