"""What is done to wheels and sdist before they leave the machine: `dist.py tidy PLACE`, `dist.py check PLACE`.

maturin writes an SBOM into each wheel, and names our own crates there by their folders. `tidy` leaves of these what is
inside the repository; `check` fails where anything else of this machine is told, or auditwheel or twine find something.
"""

import platform
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

REPOSITORY = Path(__file__).resolve().parents[1]

_LIBC = {"glibc": "many"}.get(platform.libc_ver()[0], "musl") if sys.platform == "linux" else "no "

_OURS = re.compile(r"(path\+file://)[^\"#]*?/(rust/\w+)(?=[#\"])")
_ELSEWHERE = re.compile(r"file:///(?!rust/\w+[#\"])[^\"#\s]*")


def tidied(sbom: str) -> str:
    """Our crates named by their folders in the repository."""
    return _OURS.sub(r"\1/\2", sbom)


def tidy(wheel: Path) -> None:
    """Rewrite the SBOMs of a wheel, and its RECORD."""
    with tempfile.TemporaryDirectory() as folder:
        _run("wheel", "unpack", "--dest", folder, str(wheel))
        (unpacked,) = Path(folder).iterdir()
        for sbom in unpacked.glob("*.dist-info/sboms/*.json"):
            sbom.write_text(tidied(sbom.read_text("utf-8")), "utf-8")
        _run("wheel", "pack", "--dest-dir", str(wheel.parent), str(unpacked))


def paths_told(texts: Iterator[tuple[str, str]]) -> list[str]:
    """What tells of the machine that built it: name of the file, and what it says."""
    told: list[str] = []
    for name, text in texts:
        found = {*_ELSEWHERE.findall(text)}
        found |= {place for place in (str(REPOSITORY), str(Path.home())) if len(place) > 1 and place + "/" in text}
        told += [f"{name}: {place}" for place in sorted(found)]
    return told


def described(package: Path) -> Iterator[tuple[str, str]]:
    """What a wheel or sdist says about itself; the program in it is the compiler's."""
    if package.suffix == ".whl":
        with ZipFile(package) as archive:
            for name in archive.namelist():
                if ".dist-info/" in name:
                    yield name, archive.read(name).decode("utf-8")
    else:
        with tarfile.open(package) as archive:
            for member in archive.getmembers():
                if member.name.endswith(("/PKG-INFO", ".toml")) and (file := archive.extractfile(member)):
                    yield member.name, file.read().decode("utf-8")


def check(packages: list[Path]) -> list[str]:
    """What is wrong with them."""
    wrong = [f"{package.name}: {told}" for package in packages for told in paths_told(described(package))]
    for package in packages:
        if package.suffix == ".whl":
            with ZipFile(package) as archive:
                if not any("/sboms/" in name for name in archive.namelist()):
                    wrong.append(f"{package.name}: no SBOM")
        tag = re.search(r"((?:many|musl)linux_\d+_\d+_\w+?)(?:\.|\.whl)", package.name)
        if tag is None:
            continue
        if tag[1].startswith(f"{_LIBC}linux"):
            said = _run("auditwheel", "show", str(package))
            print(said.strip())
            if tag[1] not in said:
                wrong.append(f"{package.name}: auditwheel does not say that it is {tag[1]}")
        else:
            print(f"{package.name}: auditwheel reads it only where that libc is; maturin has looked at it")
    print(_run("twine", "check", "--strict", *map(str, packages)).strip())
    return wrong


def _run(tool: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", tool, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tool} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main(task: str, place: str) -> None:
    """Do one of the two for a package, or for what is in a folder."""
    found = [Path(place)] if Path(place).is_file() else Path(place).iterdir()
    packages = sorted(package for package in found if package.name.endswith((".whl", ".tar.gz")))
    if not packages:
        raise SystemExit(f"nothing in {place}")
    if task == "tidy":
        for package in packages:
            if package.suffix == ".whl":
                tidy(package)
    elif wrong := check(packages):
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
