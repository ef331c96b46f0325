"""The daemon of the edge box and its command line."""
