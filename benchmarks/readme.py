"""Measured parts of the README and of other pages: each between two marks, and none is typed."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

README = ROOT / "README.md"


def replace(begin: str, end: str, lines: list[str], page: Path = README) -> None:
    """Put ``lines`` between the marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(f"{begin}\n")
    _, _, after = rest.partition(f"{end}\n")
    text = "\n".join(["", *lines, ""])
    page.write_text(f"{before}{begin}\n{text}\n{end}\n{after}", encoding="utf-8")
