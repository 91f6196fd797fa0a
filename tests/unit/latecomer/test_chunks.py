"""Cutting a model into chunks and joining them again; unchanged rows keep their chunk."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latecomer.errors import ChunkMissing
from latecomer.store import chunks
from latecomer.store.chunks import CHUNK_BYTES, WITHHELD, Chunked, cut, joined
from latecomer.store.keys import Keys
from latecomer.tensors import Array, Kind, Layout, TensorSpec, content_address

TABLE = Layout((TensorSpec("items", Kind.ROWS, (4, 2)),))

SIXTEEN_BYTES = 16


@pytest.fixture
def _two_rows_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", SIXTEEN_BYTES)


def table(*rows: tuple[float, float]) -> dict[str, Array]:
    return {"items": np.array(rows, np.float32)}


def bytes_of(cut_up: Chunked) -> dict[str, bytes]:
    return {name: bytes(blob) for name, blob in cut_up.blobs.items()}


ROWS = table((1, 2), (3, 4), (5, 6), (7, 8))


def test_a_small_tensor_is_one_chunk_of_its_little_endian_bytes() -> None:
    cut_up = cut(TABLE, ROWS)
    content = np.arange(1, 9, dtype="<f4").tobytes()
    assert cut_up.tensors == {"items": (content_address(content),)}
    assert bytes_of(cut_up) == {content_address(content): content}


@pytest.mark.usefixtures("_two_rows_a_chunk")
def test_a_table_is_cut_between_rows() -> None:
    cut_up = cut(TABLE, ROWS)
    first = np.array([1, 2, 3, 4], "<f4").tobytes()
    second = np.array([5, 6, 7, 8], "<f4").tobytes()
    assert cut_up.tensors == {"items": (content_address(first), content_address(second))}
    assert bytes_of(cut_up) == {content_address(first): first, content_address(second): second}


@pytest.mark.usefixtures("_two_rows_a_chunk")
def test_rows_that_did_not_change_keep_their_chunk() -> None:
    before = cut(TABLE, ROWS).tensors["items"]
    after = cut(TABLE, table((1, 2), (3, 4), (5, 6), (7, 9))).tensors["items"]
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.mark.usefixtures("_two_rows_a_chunk")
def test_equal_chunks_are_kept_once() -> None:
    cut_up = cut(TABLE, table((1, 2), (3, 4), (1, 2), (3, 4)))
    first, second = cut_up.tensors["items"]
    assert first == second
    assert len(cut_up.blobs) == 1


@pytest.mark.usefixtures("_two_rows_a_chunk")
def test_a_row_longer_than_a_chunk_is_a_chunk() -> None:
    wide = Layout((TensorSpec("wide", Kind.ROWS, (2, 5)),))
    cut_up = cut(wide, {"wide": np.arange(10, dtype=np.float32).reshape(2, 5)})
    assert [len(cut_up.blobs[name]) for name in cut_up.tensors["wide"]] == [20, 20]


@pytest.mark.usefixtures("_two_rows_a_chunk")
def test_the_last_chunk_is_as_short_as_it_is() -> None:
    flat = Layout((TensorSpec("flat", Kind.DENSE, (5,)),))
    cut_up = cut(flat, {"flat": np.arange(5, dtype=np.float32)})
    assert [len(cut_up.blobs[name]) for name in cut_up.tensors["flat"]] == [16, 4]


def test_chunks_have_at_most_the_promised_size() -> None:
    rows = CHUNK_BYTES // 4 // 3 + 1
    large = Layout((TensorSpec("large", Kind.ROWS, (rows, 3)),))
    cut_up = cut(large, {"large": np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)})
    sizes = [len(cut_up.blobs[name]) for name in cut_up.tensors["large"]]
    assert sizes == [CHUNK_BYTES // 12 * 12, 12]


def test_large_models_have_the_names_that_small_ones_have_in_the_order_of_their_tensors() -> None:
    sizes = {"a": 3 * CHUNK_BYTES // 4 + 1, "b": 1, "c": 2 * CHUNK_BYTES // 4, "none": 0}
    layout = Layout(tuple(TensorSpec(name, Kind.DENSE, (n,)) for name, n in sizes.items()))
    state = {name: np.arange(n, dtype=np.float32) + n for name, n in sizes.items()}
    together = cut(layout, state)
    alone = {spec.name: cut(Layout((spec,)), state).tensors[spec.name] for spec in layout}
    assert together.tensors == alone
    assert [len(names) for names in together.tensors.values()] == [4, 1, 2, 0]
    assert all(content_address(blob) == name for name, blob in together.blobs.items())


def test_no_thread_outlives_the_cut() -> None:
    before = threading.active_count()
    size = 4 * chunks.THREADED_BYTES // 4
    layout = Layout((TensorSpec("large", Kind.DENSE, (size,)),))
    cut(layout, {"large": np.zeros(size, np.float32)})
    assert threading.active_count() == before


def test_joining_gives_new_writable_arrays() -> None:
    cut_up = cut(TABLE, ROWS)
    state = joined(TABLE, cut_up.tensors, bytes_of(cut_up))
    state["items"][0, 0] = 99
    assert ROWS["items"][0, 0] == 1


def test_the_blobs_are_views_and_not_copies() -> None:
    state = table((1, 2), (3, 4), (5, 6), (7, 8))
    (blob,) = cut(TABLE, state).blobs.values()
    state["items"][0, 0] = 99
    assert bytes(blob[:4]) == np.float32(99).tobytes()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (2, 3, 4)])
@pytest.mark.usefixtures("_two_rows_a_chunk")
def test_any_shape_comes_back_as_it_was(shape: tuple[int, ...]) -> None:
    layout = Layout((TensorSpec("x", Kind.DENSE, shape),))
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    cut_up = cut(layout, {"x": array})
    state = joined(layout, cut_up.tensors, bytes_of(cut_up))
    assert state["x"].shape == shape
    assert state["x"].tobytes() == array.tobytes()


@given(st.lists(st.floats(width=32), max_size=40))
def test_values_come_back_bit_for_bit(values: list[float]) -> None:
    layout = Layout((TensorSpec("x", Kind.SUM, (len(values),)),))
    array = np.array(values, np.float32)
    cut_up = cut(layout, {"x": array})
    assert joined(layout, cut_up.tensors, bytes_of(cut_up))["x"].tobytes() == array.tobytes()


def test_an_array_that_is_not_contiguous_is_cut_like_its_copy() -> None:
    turned = np.asfortranarray(ROWS["items"])
    assert cut(TABLE, {"items": turned}).tensors == cut(TABLE, ROWS).tensors


@pytest.mark.usefixtures("_two_rows_a_chunk")
def test_chunks_that_do_not_add_up_are_an_error() -> None:
    cut_up = cut(TABLE, ROWS)
    short = {"items": cut_up.tensors["items"][:1]}
    with pytest.raises(ChunkMissing, match=r"'items' do not add up to \(4, 2\)"):
        joined(TABLE, short, bytes_of(cut_up))


def test_what_only_aggregators_may_read_has_another_name_and_place() -> None:
    """Of equal bytes, too: a worker that knows the one name must not find the other."""
    both = Layout((TensorSpec("table", Kind.DENSE, (2,)), TensorSpec("counts", Kind.SUM, (2,))))
    state = {"table": np.ones(2, np.float32), "counts": np.ones(2, np.float32)}
    cut_up = cut(both, state)
    (served,), (counts,) = cut_up.tensors["table"], cut_up.tensors["counts"]
    assert counts == WITHHELD + served
    assert cut_up.blobs.keys() == {served, counts}
    assert cut(both, state, withheld=True).tensors["table"] == (counts,)
    keys = Keys("shop")
    assert keys.chunk(served) == f"lc:{{shop}}:b:{served}"
    assert keys.chunk(counts) == f"lc:{{shop}}:s:{served}"
    whole = joined(both, cut_up.tensors, bytes_of(cut_up))
    assert all(np.array_equal(whole[name], state[name]) for name in state)
