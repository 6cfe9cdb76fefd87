"""The corpus of hostile URLs, and a universe in a network namespace to try them in."""
