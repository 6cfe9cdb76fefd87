"""`python -m gridhook` is `gridhook`."""

from gridhook.cli import main

main(prog_name="gridhook")
