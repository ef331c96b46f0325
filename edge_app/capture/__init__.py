"""Pictures from cameras and files."""
