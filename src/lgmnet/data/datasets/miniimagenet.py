"""miniImageNet (Vinyals et al., 2016) in the splits of Ravi and Larochelle (2017)."""

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.image_folder import image_folder
from lgmnet.data.images.archives import data_folders
from lgmnet.errors import DataError


def miniimagenet(split: str = "train") -> ClassDataset:
    """Open a split of miniImageNet: 64 / 16 / 20 classes, 600 images each, 84 x 84 pixels.

    The folder ``miniimagenet`` of a data folder must contain the ``train.csv``, ``val.csv`` and
    ``test.csv`` of Ravi and Larochelle, and the images (see
    `lgmnet.data.datasets.image_folder.list_csv_files`).

    Raises:
        DataError: if these files cannot be found or read.
    """
    folders = [folder / "miniimagenet" for folder in data_folders()]
    for folder in folders:
        if (folder / f"{split}.csv").is_file():
            return image_folder(folder, split, name="miniimagenet")
    searched = " and ".join(f"'{folder / f'{split}.csv'}'" for folder in folders)
    raise DataError(
        f"miniImageNet was not found (looked for {searched}). It may not be redistributed: put the "
        f"CSV files of Ravi and Larochelle into '{folders[0]}', and the images into "
        f"'{folders[0] / 'images'}', or ImageNet's class folders n01532829, ..."
    )
