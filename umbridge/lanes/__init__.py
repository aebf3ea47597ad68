"""PATH 2: a stored message to determinations. One lane is one stay, worked in order."""
