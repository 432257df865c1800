"""The recipe of the demo's files; nothing imports it at run time."""
