"""A manifest's bytes are canonical, and nothing is lost on the way through them."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.events import Version
from latecomer.store.port import Cadence, Fold, Manifest
from latecomer.tensors import Kind, Layout, TensorSpec, digest

LAYOUT = Layout((TensorSpec("items", Kind.ROWS, (3, 2)), TensorSpec("bias", Kind.DENSE, (2,))))

FULL = Manifest(
    version=Version(7, 3),
    previous=Version(7, 2),
    layout=LAYOUT,
    model={"items": ("aa", "bb"), "bias": ("cc",)},
    optimizer={"items.m": ("dd",)},
    optimizer_layout=Layout((TensorSpec("items.m", Kind.ROWS, (3, 2)),)),
    folds=(Fold("anna:b:1", "anna", Version(7, 1), 1, 0.5, 40),),
    divisor=2,
    recipe="ee",
    catalogue="ff",
    at_s=1234.5,
)

INITIAL = Manifest(Version(7, 0), None, LAYOUT, {"items": ("aa",), "bias": ("aa",)})

names = st.text("abcdef", min_size=1, max_size=4)
versions = st.builds(Version, st.integers(0, 2**40), st.integers(0, 2**40))
folds = st.builds(
    Fold,
    update_id=names,
    worker=names,
    base=versions,
    staleness=st.integers(0, 1000),
    weight=st.floats(0, 1),
    examples=st.integers(1, 2**52),
)


@pytest.mark.parametrize("manifest", [FULL, INITIAL], ids=["full", "initial"])
def test_a_manifest_reads_back_as_it_was(manifest: Manifest) -> None:
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@given(
    st.builds(
        lambda version, folded: replace(FULL, version=version, folds=tuple(folded)),
        versions,
        st.lists(folds, max_size=3),
    )
)
def test_any_manifest_reads_back_bit_for_bit(manifest: Manifest) -> None:
    read = Manifest.from_bytes(manifest.to_bytes())
    assert read == manifest
    assert read.to_bytes() == manifest.to_bytes()


def test_versions_read_back_as_versions() -> None:
    read = Manifest.from_bytes(FULL.to_bytes())
    assert str(read.version) == "7.3"
    assert str(read.previous) == "7.2"
    assert str(read.folds[0].base) == "7.1"


def test_the_bytes_are_the_ones_that_older_readers_know() -> None:
    assert INITIAL.to_bytes() == (
        b'{"at_s":0.0,"catalogue":"","divisor":1,"folds":[],'
        b'"layout":[["items","rows",[3,2]],["bias","dense",[2]]],'
        b'"model":{"bias":["aa"],"items":["aa"]},"optimizer":{},"optimizer_layout":[],'
        b'"previous":null,"recipe":"","schema":1,"version":[7,0]}'
    )


def test_folds_are_rows_in_fold_order() -> None:
    body = json.loads(FULL.to_bytes())
    assert body["folds"] == [["anna:b:1", "anna", [7, 1], 1, 0.5, 40]]


def test_equal_manifests_have_equal_digests_however_they_were_built() -> None:
    turned = replace(FULL, model=dict(reversed(list(FULL.model.items()))))
    assert turned.digest == FULL.digest == digest(FULL.to_bytes())


@pytest.mark.parametrize(
    "other",
    [
        replace(FULL, version=Version(7, 4)),
        replace(FULL, model={"items": ("bb", "aa"), "bias": ("cc",)}),
        replace(FULL, folds=()),
        replace(FULL, divisor=1),
        replace(FULL, at_s=1234.75),
    ],
)
def test_any_change_changes_the_digest(other: Manifest) -> None:
    assert other.digest != FULL.digest


def test_a_manifest_needs_the_chunks_of_model_optimizer_recipe_and_catalogue() -> None:
    assert FULL.chunks() == {"aa", "bb", "cc", "dd", "ee", "ff"}


def test_a_manifest_without_recipe_and_catalogue_needs_no_empty_chunk() -> None:
    assert INITIAL.chunks() == {"aa"}


def test_a_manifest_keeps_what_k_follows() -> None:
    followed = replace(FULL, cadence=Cadence(updates=12, versions=3, folded=36, behind=70))
    assert json.loads(followed.to_bytes())["cadence"] == [12, 3, 36, 70]
    assert Manifest.from_bytes(followed.to_bytes()) == followed
    assert followed.digest != FULL.digest
