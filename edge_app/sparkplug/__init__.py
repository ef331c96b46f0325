"""The Sparkplug B 3.0 plane: what the box knows now, for hosts that speak Sparkplug; never the guarantee."""
