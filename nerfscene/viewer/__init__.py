"""Scene → browser: the only folder that imports viser."""
