"""The one exception for input that cannot be used."""


class BadInput(ValueError):
    """Input that cannot be used: one sentence that says what is wrong, where, and what to do.

    Args:
        sentence: What a user reads. The command line prints it alone and exits with status 1.
        fault: The fault's name as `liverutils verify` lists it, such as `missing_slices`.
    """

    def __init__(self, sentence: str, fault: str = "bad_input") -> None:
        super().__init__(sentence)
        self.fault = fault
