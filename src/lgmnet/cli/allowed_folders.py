"""Folders to which a program that is told paths by others is restricted."""

from collections.abc import Sequence
from pathlib import Path

from lgmnet.errors import ConfigError


class AllowedFolders:
    """Folders whose files may be read and written.

    Args:
        folders: Folders that exist.

    Raises:
        ConfigError: if there is no such folder.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError(f"There is no folder '{folder}'. Name folders that exist.")
        self.folders = [folder.resolve() for folder in folders]

    def resolve(self, path: str | Path) -> Path:
        """Return an absolute path without symbolic links and ``..``.

        A relative path starts at the first folder.

        Raises:
            ConfigError: if it lies outside the folders.
        """
        try:
            resolved = (self.folders[0] / Path(path).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # Links in a circle, a null character.
            raise ConfigError(f"'{path}' cannot be used as a path: {error}.") from error
        if not any(resolved.is_relative_to(folder) for folder in self.folders):
            allowed = ", ".join(f"'{folder}'" for folder in self.folders)
            raise ConfigError(
                f"'{path}' lies outside the folders that may be used: {allowed}. Copy it there, or "
                "start 'lgmnet mcp' with its folder as well."
            )
        return resolved

    def resolve_tree(self, path: str | Path) -> Path:
        """Resolve a path as `resolve` does, and check all that is below it, through every link.

        Raises:
            ConfigError: if any of it lies outside the folders.
        """
        top = self.resolve(path)
        waiting, checked = [top], set()
        while waiting:
            folder = waiting.pop()
            checked.add(folder)
            if folder.is_dir():
                entries = {self.resolve(entry) for entry in folder.iterdir()}
                waiting += entries - checked
        return top
