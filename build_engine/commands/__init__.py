"""The sub-commands of ``dsr-engine``, one module each."""
