"""`python -m ganloom`, as `torchrun -m ganloom` starts it."""

from ganloom.cli import main

main()
