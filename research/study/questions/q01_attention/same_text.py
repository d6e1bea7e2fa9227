"""Study 1: the statement about the shift that several parts judge."""

# The margin is that of the statement on S² and full attention. It is two-sided: what is within it makes no difference.
NO_SHIFT = "The shift makes no difference to the text (short attention within ±1 % of S²)."
