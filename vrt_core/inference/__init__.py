"""One network over a clip: windows in time, tiles in space, blending, caches, memory."""
