"""ComfyUI's entry to a clone in custom_nodes; everything is in vrt_nodes."""

if __package__:  # ComfyUI imports this file as a package; pytest imports it bare
    from .vrt_nodes import WEB_DIRECTORY, comfy_entrypoint

    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
