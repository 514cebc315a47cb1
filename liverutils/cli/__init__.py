"""The `liverutils` command. Exit status: 0 done, 1 input that cannot be used, 2 wrong usage."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
