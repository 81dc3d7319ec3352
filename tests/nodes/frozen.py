"""Interface that saved workflows rely on: ids of nodes, names of inputs and outputs."""

WINDOW = ["window_frames", "overlap_frames"]
TILES = ["tile_px", "tile_overlap_px", "cuts"]
STRENGTH = ["strength", "chroma_strength"]
FROZEN = {
    "VRTLoadModel": (["model_name", "precision"], ["VRT_MODEL model"]),
    "VRTRestore": (["model", "images", "sigma_255", *WINDOW, *TILES, *STRENGTH], ["IMAGE images"]),
    "VRTInterpolate": (["model", "images", "factor", *TILES], ["IMAGE images"]),
    "VRTSpaceTimeSR": (
        ["model", "images", "interpolate_model", "factor", *WINDOW, *TILES, *STRENGTH],
        ["IMAGE images"],
    ),
    "VRTRestoreVideo": (["model", "video", "sigma_255", "factor", *WINDOW, *TILES, "crf", *STRENGTH], ["VIDEO video"]),
    "VRTCompare": (["before", "after"], []),
    "VRTCompareVideo": (["before", "after"], []),
}
"""Never change or reorder these; add at the end."""

ADVANCED = {"precision", *WINDOW, *TILES, "crf", *STRENGTH}
"""Inputs that are among the advanced ones."""

OPTIONAL = {"interpolate_model", *STRENGTH}
"""Inputs that prompts may leave out: connections, and what nodes got after their first release."""
