"""What builds the package; nothing here is installed."""
