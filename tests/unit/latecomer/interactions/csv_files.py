"""CSV files as an owner would write them."""

from pathlib import Path


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
