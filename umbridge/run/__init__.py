"""The running daemon: built once, reloaded, witnessed, and seen from outside."""
