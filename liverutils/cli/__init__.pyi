"""The `liverutils` command. Exit status: 0 done, 1 input that cannot be used, 2 wrong usage."""

from .program import main as main
from .program import make_parser as make_parser
