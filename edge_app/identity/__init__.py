"""Who it is: the register, the match and the vote."""
