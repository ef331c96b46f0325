"""Who was last seen where, and when."""
