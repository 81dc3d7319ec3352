"""Model cards and weight files: lookup, download, verification, loading."""
