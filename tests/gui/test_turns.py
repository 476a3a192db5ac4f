"""Pieces of drawing take turns, and do not fall behind where pictures are slow."""

from mldsim.gui.turns import BEAT, Turns


def test_pieces_take_turns_and_a_newer_one_takes_the_place_of_an_older():
    now, drawn = [0.0], []
    turns = Turns(lambda: now[0])
    for name in "abc":
        turns.ask(name, lambda name=name: drawn.append(name))
    turns.ask("b", lambda: drawn.append("newer b"))
    for _ in range(2):
        now[0] += BEAT
        turns.take(every=False)
    assert drawn == ["a", "newer b"]
    turns.ask("a", lambda: drawn.append("a again"))
    now[0] += BEAT
    turns.take(every=False)
    assert drawn == ["a", "newer b", "c"]
    turns.take(every=True)
    assert drawn == ["a", "newer b", "c", "a again"]


def test_where_pictures_are_slow_more_than_one_piece_is_drawn_with_each():
    now, drawn = [0.0], []
    turns = Turns(lambda: now[0])
    for name in range(6):
        turns.ask(name, lambda name=name: drawn.append(name))
    now[0] = 4.5 * BEAT
    turns.take(every=False)
    assert drawn == [0, 1, 2, 3]


def test_a_piece_that_asks_for_a_further_one_has_it_drawn_later():
    now, drawn = [0.0], []
    turns = Turns(lambda: now[0])
    turns.ask("first", lambda: turns.ask("second", lambda: drawn.append("second")))
    turns.take(every=False)
    assert drawn == []
    turns.take(every=True)
    assert drawn == ["second"]
