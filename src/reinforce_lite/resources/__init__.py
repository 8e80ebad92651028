"""What fits on a device, and what `auto` therefore is: arithmetic on the configuration, without torch."""
