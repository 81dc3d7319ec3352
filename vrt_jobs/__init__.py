"""Work that lasts: a restoration in segments, which goes on after a stop, a crash or a power cut."""
