"""Painters of Mars-like pictures: grey float32 arrays from 0 (black) to 1 (white)."""
