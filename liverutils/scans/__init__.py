"""One CT scan: the case, its files, and what can be wrong with it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
