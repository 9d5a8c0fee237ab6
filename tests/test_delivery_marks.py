"""How far subscriptions have come: where a new consumer begins, and what may be a repeat."""

from collections.abc import Iterable

import pytest

from bridge.filters import parse
from bridge.jetstream.subscriptions.consumers import PINNED_IDLE_SECONDS, ConsumerState
from bridge.jetstream.subscriptions.delivery_marks import DeliveryMarks, KnownMarks
from bridge.subscription import Selection, Subscription

NOW = 1_700_000_000
CREATED = "2023-11-14T22:13:20.000000000Z"  # NOW, as the server writes it


def seen(marks: DeliveryMarks, *deliveries: tuple[int, int]) -> list[int]:
    """Note deliveries, each a consumer's number for it and the message's sequence; give these."""
    for number, sequence in deliveries:
        marks.note(number, sequence)
    return [sequence for _, sequence in deliveries]


def acknowledged(marks: DeliveryMarks, sequences: Iterable[int]) -> None:
    for sequence in sequences:
        marks.acknowledge(sequence)


def begun(number: int = 0, sequence: int = 0) -> DeliveryMarks:
    marks = DeliveryMarks()
    marks.learn("first", number, sequence)
    return marks


class TestWhereANewConsumerBegins:
    def test_where_nothing_is_known_at_the_beginning(self) -> None:
        assert DeliveryMarks().resume_after is None

    def test_where_the_last_one_did_before_its_first_delivery(self) -> None:
        assert begun(0, 7).resume_after == 7

    @pytest.mark.parametrize(
        ("acked", "after"), [("", 9), ("0", 19), ("12", 9), ("01", 29), ("012", 30)]
    )
    def test_before_the_first_that_is_owed(self, acked: str, after: int) -> None:
        marks = begun()
        sequences = seen(marks, (1, 10), (2, 20), (3, 30))
        acknowledged(marks, [sequences[int(index)] for index in acked])
        assert marks.resume_after == after

    def test_no_further_than_what_another_bridge_has_in_hand(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10), (3, 30), (4, 40)))
        assert marks.resume_after == 10
        marks.note_ack(2, 20)
        assert marks.resume_after == 40

    def test_behind_what_was_acknowledged_before_this_bridge_came(self) -> None:
        marks = begun(5, 50)
        marks.note_ack(7, 70)
        assert marks.resume_after == 50
        marks.note_ack(6, 60)
        assert marks.resume_after == 70

    def test_behind_a_redelivery_that_was_acknowledged(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10), (2, 20))[1:])
        assert marks.resume_after == 9
        acknowledged(marks, seen(marks, (3, 10)))
        assert marks.resume_after == 20

    def test_behind_one_that_was_given_back_and_acknowledged_elsewhere(self) -> None:
        marks = begun()
        seen(marks, (1, 10))
        marks.note_ack(2, 10)
        assert marks.resume_after == 10

    def test_on_from_where_another_consumer_of_the_name_began(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10), (3, 30)))
        marks.learn("second", 0, 10)
        acknowledged(marks, seen(marks, (1, 20), (2, 30)))
        assert marks.resume_after == 30

    def test_at_the_beginning_if_that_is_where_the_other_began(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10), (2, 20)))
        marks.learn("second", 0, 0)
        assert marks.resume_after == 0

    def test_what_is_told_late_takes_nothing_back(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10), (2, 20)))
        marks.learn("first", 1, 10)
        assert marks.resume_after == 20

    def test_behind_what_others_acknowledged_of_what_was_given_back_here(self) -> None:
        marks = begun()
        seen(marks, (1, 10))
        acknowledged(marks, seen(marks, (2, 20)))
        assert marks.resume_after == 9
        marks.learn("first", 3, 20)
        assert marks.resume_after == 20

    def test_what_is_told_closes_a_gap(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10), (4, 40)))
        before = marks.has_gap
        marks.learn("first", 3, 30)
        assert (before, marks.has_gap) == (True, False)
        assert marks.resume_after == 40

    def test_no_further_than_before_there_may_have_been_another_consumer(self) -> None:
        marks = begun(5, 5)
        marks.doubt()
        marks.note_ack(6, 11)
        marks.note_ack(1, 6)
        assert marks.resume_after == 5
        marks.learn("second", 0, 5)
        assert marks.resume_after == 6

    def test_behind_what_was_acknowledged_before_the_consumer_was_known(self) -> None:
        marks = DeliveryMarks()
        marks.note_ack(1, 6)
        marks.note_ack(2, 7)
        assert marks.resume_after is None
        marks.learn("first", 0, 0)
        assert marks.resume_after == 7

    def test_behind_what_it_knew_if_the_consumer_was_no_other(self) -> None:
        marks = begun()
        marks.note_ack(1, 10)
        marks.doubt()
        marks.note_ack(2, 20)
        assert marks.resume_after == 10
        marks.learn("first", 1, 10)
        assert marks.resume_after == 20

    def test_behind_what_expired_in_hand(self) -> None:
        marks = begun()
        seen(marks, (1, 10))
        marks.forget_owed(lambda sequence: sequence == 10)
        assert marks.resume_after == 10


class TestWhatIsGivenAgain:
    def test_what_was_acknowledged_is_known_to_be(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10), (2, 20)))
        assert not marks.note(3, 20), "its reader has had it"
        assert marks.note(4, 30)

    def test_what_is_in_hand_is_not_settled(self) -> None:
        marks = begun()
        seen(marks, (1, 10))
        assert marks.note(2, 10)

    def test_nothing_is_settled_while_the_consumer_may_be_another(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10)))
        marks.doubt()
        assert marks.note(1, 10)

    def test_a_number_that_comes_again_tells_of_a_consumer_that_went_back(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10), (2, 20), (3, 30)))
        assert marks.went_back(2)
        assert not marks.went_back(4)
        marks.go_back(2, NOW)
        assert not marks.went_back(2)
        assert marks.may_be_repeat(NOW - 1)
        assert not marks.may_be_repeat(NOW)

    def test_a_subscription_that_began_anew_is_given_everything(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10)))
        marks.learn("second", 0, 0, again=False)
        assert marks.note(1, 10)

    def test_one_that_was_made_in_the_place_of_a_lost_one_is_not(self) -> None:
        marks = begun()
        acknowledged(marks, seen(marks, (1, 10)))
        marks.learn("second", 0, 0, again=True)
        assert not marks.note(1, 10)


def state(*, pinned: bool = False, **metadata: str) -> ConsumerState:
    """Give a consumer that was made at NOW and has delivered nothing."""
    wanted = Subscription(
        Selection("p", filter=parse("correlation_id:c-1" if pinned else "")), "reader"
    )
    return ConsumerState(
        subscription=wanted,
        name="c",
        created=CREATED,
        pending=0,
        ack_pending=0,
        redelivered=0,
        waiting=0,
        delivered_sequence=0,
        last_delivery=None,
        floor=(0, 0),
        config={"metadata": metadata},
    )


@pytest.mark.parametrize(
    ("found", "stored_at", "repeat"),
    [
        (state(), NOW - 10 * PINNED_IDLE_SECONDS, False),
        (state(pinned=True), NOW - PINNED_IDLE_SECONDS + 1, False),
        (state(pinned=True), NOW - PINNED_IDLE_SECONDS - 1, True),
        (state(again="yes"), NOW - 1, True),
        (state(again="yes"), NOW + 1, False),
    ],
)
def test_what_an_earlier_consumer_may_have_given_says_so(
    found: ConsumerState, stored_at: float, repeat: bool
) -> None:
    """A pinned one goes when it was idle for an hour, so what it gave is older than that."""
    marks = KnownMarks()
    marks.learn(found)
    assert marks.of("c").may_be_repeat(stored_at) is repeat


def test_a_restart_of_nats_is_of_no_account_to_a_consumer_that_was_made_after_it() -> None:
    marks = KnownMarks()
    marks.note_restart(NOW - 1)
    marks.learn(state())
    assert not marks.of("c").may_be_repeat(NOW - 2)
    marks = KnownMarks()
    marks.learn(state())
    marks.note_restart(NOW + 1)
    assert marks.of("c").may_be_repeat(NOW)
