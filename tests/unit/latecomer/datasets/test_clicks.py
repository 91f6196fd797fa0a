"""MovieLens 1M as advertisements, in a tiny hand-made copy."""

from pathlib import Path

import pytest

from latecomer.datasets.registry import read_examples
from latecomer.errors import BadData

NAME = "ml-1m-clicks"

FILES = {
    "movies.dat": "7::Toys (1995)::Animation|Children's\n9::Heat, or: 1999 (1972) ::Action\n",
    "users.dat": "1::F::1::20::48067\n2::M::56::10::70072\n",
    "ratings.dat": "2::7::3::300\n1::9::4::200\n1::7::5::100\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    return tmp_path


def test_four_stars_are_a_click_and_nothing_but_the_person_and_the_film_is_known(
    folder: Path,
) -> None:
    values = read_examples(NAME, folder).values
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    assert rows[1] == {
        "exposure": "1-9",
        "person": "1",
        "occupation": "writer",
        "clicked": 1,
        "gender": "F",
        "age": "1",
        "genres": "Action",
        "year": "1972",
    }
    assert [row["clicked"] for row in rows] == [0, 1, 1]
    assert [row["genres"] for row in rows if row["year"] == "1995"] == 2 * ["Animation|Children's"]


@pytest.mark.parametrize("line", ["1::8::5::400\n", "3::7::5::400\n"])
def test_a_rating_of_an_unknown_film_or_person_means_that_files_do_not_go_together(
    folder: Path, line: str
) -> None:
    (folder / "ratings.dat").write_text(FILES["ratings.dat"] + line)
    with pytest.raises(BadData, match=f"not those of {NAME}"):
        read_examples(NAME, folder)


def test_a_film_without_a_year_is_named_with_its_line(folder: Path) -> None:
    (folder / "movies.dat").write_text(FILES["movies.dat"] + "10::Untitled::Drama\n")
    with pytest.raises(BadData, match="no year at the end of 'Untitled' on line 3"):
        read_examples(NAME, folder)
