"""Derives purchases.csv.gz and items.csv from the UCI Online Retail data set.

Usage: python derive.py online-retail.csv.gz [OUTPUT_FOLDER]

The input has the columns of the published data: InvoiceNo, StockCode, Description, Quantity,
InvoiceDate (ISO), UnitPrice, CustomerID, Country. The rules are those of README.md, in this order.
"""

import csv
import gzip
import io
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

Line = dict[str, str]

#: Products have five digits and perhaps a letter for the colour; POST, M, DOT, C2 are services.
PRODUCT = re.compile(r"[0-9]{5}")


def is_purchase(line: Line) -> bool:
    """A customer bought a product: no cancellation, no postage, no bank charges, no returns."""
    return (
        bool(line["CustomerID"])
        and not line["InvoiceNo"].startswith("C")
        and PRODUCT.match(line["StockCode"]) is not None
        and int(line["Quantity"]) > 0
    )


def first_purchases(lines: Iterable[Line]) -> Iterator[tuple[str, str, str, str]]:
    """(customer, item, time, country) of the first purchase of each pair, in order of time.

    Purchases of the same minute stay in the order of the source. A customer's country is that of
    the first purchase.
    """
    seen: set[tuple[str, str]] = set()
    country: dict[str, str] = {}
    for line in sorted(lines, key=lambda each: each["InvoiceDate"]):
        customer, item = str(int(float(line["CustomerID"]))), line["StockCode"]
        if (customer, item) in seen:
            continue
        seen.add((customer, item))
        home = country.setdefault(customer, line["Country"])
        yield customer, item, line["InvoiceDate"].replace(" ", "T"), home


def tidy(description: str) -> str:
    """One space between words, one after a comma, none at the ends; a capital, then small ones."""
    spaced = re.sub(r"\s*,\s*", ", ", " ".join(description.split()))
    return spaced.strip(" ,.").capitalize()


def descriptions(lines: Iterable[Line]) -> dict[str, str]:
    """Item -> its most frequent description, tidied; ties go to the alphabetically first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        counts[line["StockCode"]][tidy(line["Description"])] += 1
    return {
        item: min(found, key=lambda text: (-found[text], text)) for item, found in counts.items()
    }


def write_gzip(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    """CSV, compressed alike on every machine and day."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.getvalue().encode())


def main(source: Path, folder: Path) -> None:
    """Read the published data, write both files, and say how much is in them."""
    with gzip.open(source, "rt", encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if is_purchase(line)]
    purchases = list(first_purchases(lines))
    write_gzip(folder / "purchases.csv.gz", [("customer", "item", "time", "country"), *purchases])
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("item", "description"), *sorted(descriptions(lines).items())])
    customers, items = {row[0] for row in purchases}, {row[1] for row in purchases}
    print(f"{len(purchases)} pairs, {len(customers)} customers, {len(items)} items")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "."))  # noqa: PLR2004 - argv
