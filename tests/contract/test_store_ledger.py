"""What every store promises about verdicts, counts, the fleet table and staged payloads."""

from dataclasses import replace

import pytest

from latecomer.clock import ManualClock
from latecomer.errors import ChunkMissing, Fenced, VersionConflict
from latecomer.events import Version
from latecomer.store import port, redis
from latecomer.store.port import LEDGER_STEP_S, Lease, Refusal, Totals, Verdict, WorkerRecord
from latecomer.tensors import content_address
from store_scene import LEDGER_WINDOW_S, Stores, commit_of, fold, lead, named, publish, refuse

pytest_plugins = ["store_plugin"]

#: More than a script may pass to one command.
MANY = 9_000


def test_an_unknown_update_has_no_verdict(stores: Stores) -> None:
    store = stores.open()
    assert store.verdicts(["anna:b:1"]) == {}
    assert store.applied(["anna:b:1"]) == frozenset()
    assert store.applied([]) == frozenset()


def test_a_folded_update_is_in_the_ledger(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, b"v0..", folds=(fold("anna:b:1"), fold("bert:b:1")))
    assert store.applied(["anna:b:1", "anna:b:2", "bert:b:1"]) == {"anna:b:1", "bert:b:1"}
    assert store.verdicts(["anna:b:1"]) == {"anna:b:1": Verdict(folded=True)}


def test_a_refused_update_is_in_the_ledger_with_its_reason(stores: Stores) -> None:
    store = stores.open()
    assert refuse(store, "anna:b:1", "stale")
    assert store.applied(["anna:b:1"]) == {"anna:b:1"}
    assert store.verdicts(["anna:b:1"]) == {"anna:b:1": Verdict(folded=False, reason="stale")}


def test_a_refusal_is_recorded_once_and_the_first_reason_stands(stores: Stores) -> None:
    store = stores.open()
    assert refuse(store, "anna:b:1", "stale")
    assert not refuse(store, "anna:b:1", "not-finite")
    assert store.verdicts(["anna:b:1"]) == {"anna:b:1": Verdict(folded=False, reason="stale")}
    assert store.totals().refused == {"stale": 1}


def test_a_folded_update_cannot_be_refused_any_more(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, b"v0..", folds=(fold("anna:b:1"),))
    assert not refuse(store, "anna:b:1")
    assert store.verdicts(["anna:b:1"]) == {"anna:b:1": Verdict(folded=True)}
    assert store.totals().refused == {}


def test_a_refused_update_cannot_be_folded_any_more(stores: Stores) -> None:
    store = stores.open()
    refuse(store, "anna:b:1")
    with pytest.raises(VersionConflict, match="anna:b:1 had its verdict before"):
        publish(store, lead(store), 0, b"v0..", folds=(fold("bert:b:1"), fold("anna:b:1")))
    assert store.head() is None
    assert store.verdicts(["bert:b:1"]) == {}


def test_no_update_is_folded_into_two_versions(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"v0..", folds=(fold("anna:b:1"),))
    with pytest.raises(VersionConflict, match="anna:b:1 had its verdict before"):
        publish(store, lease, 1, b"v1..", folds=(fold("anna:b:1"),))
    assert store.totals().accepted == 1


def test_no_update_is_folded_twice_into_one_version(stores: Stores) -> None:
    store = stores.open()
    with pytest.raises(VersionConflict, match="anna:b:1"):
        publish(store, lead(store), 0, b"v0..", folds=(fold("anna:b:1"), fold("anna:b:1")))
    assert store.head() is None


def test_a_version_of_many_thousand_updates_is_one_commit(stores: Stores) -> None:
    store = stores.open()
    folds = tuple(fold(f"w{number}:b:1") for number in range(MANY))
    publish(store, lead(store), 0, b"v0..", folds=folds)
    assert store.totals().accepted == MANY
    assert store.applied(each.update_id for each in folds) == {each.update_id for each in folds}
    assert len(store.fleet()) == MANY


def test_the_last_of_many_thousand_updates_had_its_verdict_before(stores: Stores) -> None:
    store = stores.open()
    refuse(store, f"w{MANY - 1}:b:1")
    folds = tuple(fold(f"w{number}:b:1") for number in range(MANY))
    with pytest.raises(VersionConflict, match=f"w{MANY - 1}:b:1 had its verdict before"):
        publish(store, lead(store), 0, b"v0..", folds=folds)
    assert store.head() is None


def test_folded_updates_are_remembered_for_the_ledgers_window(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"v0..", folds=(fold("anna:b:1"),))
    stores.clock.advance(LEDGER_WINDOW_S)
    publish(store, lease, 1, b"v1..", folds=(fold("anna:b:2"),))
    assert store.applied(["anna:b:1"]) == {"anna:b:1"}
    stores.clock.advance(1)
    publish(store, lease, 2, b"v2..")
    assert store.applied(["anna:b:1", "anna:b:2"]) == {"anna:b:2"}


def test_refused_updates_are_remembered_for_the_ledgers_window(stores: Stores) -> None:
    store = stores.open()
    refuse(store, "anna:b:1")
    stores.clock.advance(LEDGER_WINDOW_S)
    refuse(store, "anna:b:2")
    assert store.verdicts(["anna:b:1"]) == {"anna:b:1": Verdict(folded=False, reason="stale")}
    stores.clock.advance(1)
    refuse(store, "anna:b:3")
    assert store.verdicts(["anna:b:1"]) == {}
    assert store.totals().refused == {"stale": 3}


@pytest.mark.parametrize("days", [-400, 400])
def test_a_calendar_that_is_put_right_forgets_nothing(stores: Stores, days: int) -> None:
    stores.clock = ManualClock()
    before = stores.open(ledger_window_s=port.LEDGER_WINDOW_S)
    lease = lead(before)
    publish(before, lease, 0, b"v0..", folds=(fold("anna:b:1"),))
    refuse(before, "bert:b:1")
    stores.clock = ManualClock(stores.clock.now_s() + days * 24 * 3600)
    after = stores.open(ledger_window_s=port.LEDGER_WINDOW_S)
    publish(after, lease, 1, b"v1..", folds=(fold("anna:b:2"),))
    refuse(after, "bert:b:2")
    publish(after, lease, 2, b"v2..")
    every = {"anna:b:1", "anna:b:2", "bert:b:1", "bert:b:2"}
    assert after.applied(every) == every


def test_time_goes_on_for_the_ledger_when_a_calendar_was_put_back(stores: Stores) -> None:
    before = stores.open()
    lease = lead(before)
    publish(before, lease, 0, b"v0..", folds=(fold("anna:b:1"),))
    stores.clock = ManualClock(5_000.0)
    store = stores.open()
    publish(store, lease, 1, b"v1..")
    stores.clock.advance(LEDGER_WINDOW_S)
    publish(store, lease, 2, b"v2..")
    assert store.applied(["anna:b:1"]) == {"anna:b:1"}
    stores.clock.advance(1)
    publish(store, lease, 3, b"v3..")
    assert store.applied(["anna:b:1"]) == frozenset()


def test_a_pause_is_one_step_of_the_ledgers_time(stores: Stores) -> None:
    store = stores.open(ledger_window_s=2 * LEDGER_STEP_S)
    lease = lead(store)
    publish(store, lease, 0, b"v0..", folds=(fold("anna:b:1"),))
    for number in (1, 2):
        stores.clock.advance(100 * LEDGER_STEP_S)
        publish(store, lease, number, b"v..." * number)
    assert store.applied(["anna:b:1"]) == {"anna:b:1"}
    stores.clock.advance(1)
    publish(store, lease, 3, b"v3..")
    assert store.applied(["anna:b:1"]) == frozenset()


def test_a_commit_forgets_a_thousand_ids_more_than_it_enters(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    stores.raw.zadd(stores.keys.applied, {f"w{number}:b:1": number for number in range(2500)})
    publish(store, lease, 0, b"v0..", folds=(fold("anna:b:1"), fold("bert:b:1")))
    assert stores.raw.zcard(stores.keys.applied) == 2500 + 2 - 1002
    assert store.applied(["w1001:b:1", "w1002:b:1"]) == {"w1002:b:1"}
    publish(store, lease, 1, b"v1..")
    publish(store, lease, 2, b"v2..")
    assert stores.raw.zcard(stores.keys.applied) == 2


def test_a_refusal_forgets_a_hundred_ids_more_than_it_enters(stores: Stores) -> None:
    """Of what is forgotten nothing stays, or it would be in the way of what comes next."""
    store = stores.open()
    for number in range(250):
        refuse(store, f"anna:b:{number}")
    stores.clock.advance(LEDGER_WINDOW_S + 1.0)
    for left in (151, 52, 3):
        refuse(store, f"anna:c:{left}")
        assert stores.raw.hlen(stores.keys.refused) == left
        assert stores.raw.zcard(stores.keys.refused_at) == left


def test_nothing_was_counted_in_an_empty_store(stores: Stores) -> None:
    store = stores.open()
    assert store.totals() == Totals(accepted=0, duplicates=0, refused={}, staleness={})
    assert store.fleet() == []


def test_totals_count_folds_refusals_by_reason_and_duplicates(stores: Stores) -> None:
    store = stores.open()
    publish(store, lead(store), 0, b"v0..", folds=(fold("anna:b:1"), fold("bert:b:1")))
    refuse(store, "anna:b:2", "stale")
    refuse(store, "anna:b:3", "stale")
    refuse(store, "bert:b:2", "not-finite")
    store.count_duplicate()
    store.count_duplicate()
    totals = stores.open().totals()
    assert (totals.accepted, totals.duplicates) == (2, 2)
    assert totals.refused == {"stale": 2, "not-finite": 1}


def test_the_staleness_histogram_counts_folds_over_all_versions(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"v0..", folds=(fold("anna:b:1"), fold("bert:b:1", staleness=3)))
    publish(store, lease, 1, b"v1..", folds=(fold("anna:b:2", staleness=3),))
    assert store.totals().staleness == {0: 1, 3: 2}


def test_the_fleet_table_shows_folds_and_when_each_worker_was_seen(stores: Stores) -> None:
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"v0..", folds=(fold("bert:b:1"), fold("anna:b:1")))
    stores.clock.advance(7.5)
    publish(store, lease, 1, b"v1..", folds=(fold("anna:b:2", staleness=4),))
    assert store.fleet() == [
        WorkerRecord("anna", 2, 0, 1_000_007.5, 4, "", ""),
        WorkerRecord("bert", 1, 0, 1_000_000.0, 0, "", ""),
    ]


def test_the_fleet_table_shows_the_last_refusal(stores: Stores) -> None:
    store = stores.open()
    refuse(store, "anna:b:1", "stale", "17 > 16")
    refuse(store, "anna:b:2", "not-finite", "tensor 'items': NaN")
    assert store.fleet() == [
        WorkerRecord("anna", 0, 2, 1_000_000.0, None, "not-finite: tensor 'items': NaN", "")
    ]


def test_the_fleet_table_shows_the_last_report(stores: Stores) -> None:
    store = stores.open()
    store.stage(named(b"v0.."))
    commit = commit_of(lead(store), Version(1, 0), b"v0..", folds=(fold("anna:b:1"),))
    store.commit(replace(commit, reports={"anna": '{"hit@10": 0.5, "naïve": "ü"}'}))
    assert [each.report for each in store.fleet()] == ['{"hit@10": 0.5, "naïve": "ü"}']


def test_a_payload_waits_under_its_workers_name_and_expires(stores: Stores) -> None:
    name = stores.open().stage_payload("anna", memoryview(b"a large update"))
    assert name == content_address(b"a large update")
    assert stores.open().read_payload("anna", name, 14) == b"a large update"
    assert stores.left_s(stores.keys.payload("anna", name)) is not None


@pytest.mark.parametrize("piece_bytes", [1, 7, 12, 13, 14, 15, 16])
def test_a_payload_is_read_piece_by_piece(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    """As a whole, one of 200 MiB is more than the server holds ready for all of its clients."""
    monkeypatch.setattr(redis, "READ_BYTES", piece_bytes)
    name = stores.open().stage_payload("anna", b"a large update")
    assert stores.open().read_payload("anna", name, 14) == b"a large update"
    with pytest.raises(ChunkMissing, match="damaged"):
        stores.open().read_payload("anna", name, 12)


def test_a_payload_of_one_worker_is_not_another_ones(stores: Stores) -> None:
    store = stores.open()
    name = store.stage_payload("anna", b"a large update")
    with pytest.raises(ChunkMissing, match=name):
        store.read_payload("bert", name, 14)


def test_a_payload_that_is_not_what_its_digest_says_is_an_error(stores: Stores) -> None:
    store = stores.open()
    name = store.stage_payload("anna", b"a large update")
    stores.raw.set(stores.keys.payload("anna", name), b"another update")
    with pytest.raises(ChunkMissing, match="damaged"):
        store.read_payload("anna", name, 14)


def staged(stores: Stores, worker: str, payload: bytes = b"a large update") -> tuple[str, str]:
    """A payload as its worker left it."""
    return worker, stores.open().stage_payload(worker, payload)


def waiting(stores: Stores, *payloads: tuple[str, str]) -> list[str]:
    """Whose payloads are there."""
    return [each[0] for each in payloads if stores.raw.exists(stores.keys.payload(*each))]


def test_payloads_are_gone_with_the_version_that_is_made_of_them(stores: Stores) -> None:
    anna, bert = staged(stores, "anna"), staged(stores, "bert")
    store = stores.open()
    folds = (fold("anna:b:1"),)
    publish(store, lead(store), 0, b"v0..", folds=folds, payloads=frozenset({anna}))
    assert waiting(stores, anna, bert) == ["bert"]


def test_payloads_wait_for_a_version_that_cannot_be_committed(stores: Stores) -> None:
    anna = staged(stores, "anna")
    store = stores.open()
    lease, folds = lead(store), (fold("anna:b:1"),)
    publish(store, lease, 0, b"v0..", folds=folds)
    with pytest.raises(VersionConflict):
        publish(store, lease, 1, b"v1..", folds=folds, payloads=frozenset({anna}))
    assert waiting(stores, anna) == ["anna"]


def test_chunks_and_payloads_and_what_is_superseded_are_told_apart(stores: Stores) -> None:
    anna, bert = staged(stores, "anna"), staged(stores, "bert")
    store = stores.open()
    lease = lead(store)
    publish(store, lease, 0, b"old.", b"kept", b"sqrs")
    gone, spent = (
        frozenset({content_address(b"old."), "1.0"}),
        frozenset({content_address(b"sqrs")}),
    )
    folds = (fold("anna:b:1"), fold("bert:b:1"))
    payloads = frozenset({anna, bert})
    publish(
        *(store, lease, 1, b"kept", b"new."),
        folds=folds,
        superseded=gone,
        spent=spent,
        payloads=payloads,
    )
    assert waiting(stores, anna, bert) == []
    assert stores.left_s(stores.keys.chunk(content_address(b"sqrs"))) is not None
    assert stores.left_s(stores.keys.chunk(content_address(b"kept"))) is None
    assert stores.left_s(stores.keys.chunk(content_address(b"new."))) is None
    assert stores.left_s(stores.keys.chunk(content_address(b"old."))) is not None
    assert stores.left_s(stores.keys.manifest("1.0")) is not None


def test_a_payload_that_is_gone_is_no_error(stores: Stores) -> None:
    store = stores.open()
    gone = frozenset({("anna", "0" * 32)})
    publish(store, lead(store), 0, b"v0..", folds=(fold("anna:b:1"),), payloads=gone)
    assert refuse(store, "anna:b:2", payloads=gone)


def test_a_commit_that_is_repeated_deletes_nothing_more(stores: Stores) -> None:
    anna = staged(stores, "anna")
    store = stores.open()
    folds = (fold("anna:b:1"),)
    commit = publish(store, lead(store), 0, b"v0..", folds=folds, payloads=frozenset({anna}))
    staged(stores, "anna")
    store.commit(commit)
    assert waiting(stores, anna) == ["anna"]


def test_a_payload_is_gone_with_the_verdict_against_its_update(stores: Stores) -> None:
    anna, bert = staged(stores, "anna"), staged(stores, "bert")
    assert refuse(stores.open(), "anna:b:1", payloads=frozenset({anna}))
    assert waiting(stores, anna, bert) == ["bert"]


def test_who_does_not_lead_deletes_no_payload(stores: Stores) -> None:
    anna = staged(stores, "anna")
    store = stores.open()
    lead(store)
    with pytest.raises(Fenced):
        store.refuse(
            Lease("zombie", 0), Refusal("anna:b:1", "anna", "stale", "", frozenset({anna}))
        )
    assert waiting(stores, anna) == ["anna"]


def test_a_payload_that_the_server_lost_a_part_of_midway_is_written_again(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "PIECE_BYTES", 4)
    store, payload = stores.open(), b"a large update that is written in pieces"
    key = stores.keys.payload("anna", content_address(payload))
    write, lost = store._write, list[int]()

    def lossy(key: str, start: int, piece: bytes) -> bool:
        if start == 12 and not lost:
            lost.append(start)
            stores.raw.set(key, payload[:8])
        return write(key, start, piece)

    monkeypatch.setattr(store, "_write", lossy)
    store.stage_payload("anna", payload)
    assert lost
    assert stores.raw.get(key) == payload
