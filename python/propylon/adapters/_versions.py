"""Whether a library is there, and of the minor version that its adapter was written for."""

from importlib import metadata

__all__ = ["check_version"]


def check_version(distribution: str, minor: tuple[int, int], extra: str) -> None:
    """Raise ImportError where the library is not there, and RuntimeError where it is another version.

    ``extra`` is ours, which installs the right one.
    """
    wanted = ".".join(map(str, minor))
    try:
        found = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        raise ImportError(
            f"{distribution} {wanted} is not installed, or another library stands under its name: "
            f"pip install 'propylon[{extra}]'"
        ) from None
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if numbers != minor:
        below = f"{minor[0]}.{minor[1] + 1}"
        raise RuntimeError(
            f"this adapter is for {distribution} {wanted}, and {found} is installed, of which it does not know what "
            f"has changed: pip install '{distribution}>={wanted},<{below}', or look for a newer propylon"
        )
