"""Caltech-101 (Fei-Fei, Fergus and Perona, 2004): photos of objects of 101 classes."""

from pathlib import Path

import numpy as np
import torch

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import decode_photos, find_archive, read_arrays
from lgmnet.data.images.cache import load_decoded
from lgmnet.errors import unknown_name_error

CALTECH101_ARCHIVE = Path("caltech101") / "caltech101_128_jpeg.npz"
CALTECH101_SIDE = 128
N_TEST_CLASSES = 21
SPLIT_SEED = 0
CALTECH101_SPLITS = ("train", "test")

CALTECH101_SUPERCLASSES = {
    class_name: superclass
    for superclass, class_names in (
        ("faces", "Faces Faces_easy buddha"),
        ("cats and dogs", "Leopards cougar_body cougar_face wild_cat dalmatian"),
        (
            "other mammals",
            "beaver dolphin elephant gerenuk hedgehog kangaroo llama okapi panda platypus rhino",
        ),
        ("birds", "emu flamingo flamingo_head ibis pigeon rooster"),
        ("reptiles and dinosaurs", "brontosaurus crocodile crocodile_head hawksbill stegosaurus"),
        ("insects and arachnids", "ant butterfly dragonfly mayfly scorpion tick"),
        (
            "water animals",
            "bass crab crayfish lobster nautilus octopus sea_horse starfish trilobite",
        ),
        ("plants", "bonsai joshua_tree lotus strawberry sunflower water_lilly"),
        (
            "vehicles",
            "Motorbikes airplanes car_side ferry helicopter ketch schooner wheelchair inline_skate",
        ),
        (
            "musical instruments",
            "accordion electric_guitar euphonium gramophone grand_piano mandolin "
            "metronome saxophone",
        ),
        ("furniture and lamps", "ceiling_fan chair chandelier lamp menorah windsor_chair"),
        ("buildings", "minaret pagoda pyramid"),
        ("devices", "camera cellphone headphone laptop watch binocular"),
        ("tools and weapons", "anchor cannon revolver scissors stapler wrench"),
        ("vessels and food", "barrel cup ewer pizza"),
        ("signs and cartoons", "dollar_bill garfield snoopy stop_sign yin_yang"),
        ("other things", "brain soccer_ball umbrella"),
    )
    for class_name in class_names.split()
}
"""Superclass of each class; Caltech-101 has none itself."""


def caltech101(split: str = "train") -> ClassDataset:
    """Open a split of Caltech-101: 80 / 21 classes of 31 to 800 photos each, 128 x 128 pixels.

    The test classes are drawn at random with a fixed seed. The splits are ``train`` and ``test``.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    if split not in CALTECH101_SPLITS:
        raise unknown_name_error("split of caltech101", split, CALTECH101_SPLITS)
    (path,) = find_archive("Caltech-101", [CALTECH101_ARCHIVE])
    arrays = read_arrays(path, ("data", "offsets", "label", "class_name"))
    counts = np.bincount(arrays["label"], minlength=len(arrays["class_name"]))
    shape = (len(arrays["label"]), 3, CALTECH101_SIDE, CALTECH101_SIDE)
    images = load_decoded("caltech101", [path], shape, decode_photos(path, arrays))
    order = torch.randperm(len(counts), generator=torch.Generator().manual_seed(SPLIT_SEED))
    is_test = split == "test"
    classes = sorted((order[:N_TEST_CLASSES] if is_test else order[N_TEST_CLASSES:]).tolist())
    by_class = images.split(counts.tolist())
    names = [f"caltech101/{arrays['class_name'][c]}" for c in classes]
    images = torch.cat([by_class[c] for c in classes])
    return ClassDataset(images, counts[classes].tolist(), names, name="caltech101", split=split)
