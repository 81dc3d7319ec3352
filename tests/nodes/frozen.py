"""Interface that saved workflows rely on: ids of nodes, names of inputs and outputs."""

WINDOW = ["window_frames", "overlap_frames"]
TILES = ["tile_px", "tile_overlap_px", "cuts"]
FROZEN = {
    "VRTLoadModel": (["model_name", "precision"], ["VRT_MODEL model"]),
    "VRTRestore": (["model", "images", "sigma_255", *WINDOW, *TILES], ["IMAGE images"]),
    "VRTInterpolate": (["model", "images", "factor", *TILES], ["IMAGE images"]),
    "VRTSpaceTimeSR": (["model", "images", "interpolate_model", "factor", *WINDOW, *TILES], ["IMAGE images"]),
    "VRTRestoreVideo": (["model", "video", "sigma_255", "factor", *WINDOW, *TILES, "crf"], ["VIDEO video"]),
    "VRTCompare": (["before", "after"], []),
    "VRTCompareVideo": (["before", "after"], []),
}
"""Never change or reorder these; add at the end."""

ADVANCED = {"precision", *WINDOW, *TILES, "crf"}
"""Inputs that are among the advanced ones."""
