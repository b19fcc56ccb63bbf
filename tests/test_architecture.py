#!/usr/bin/env python3
"""docs/architecture.md, compared with the code that it draws.

The rooms and their imports are read out of the sources; the life of a sign-in
is written down while one happens.
"""
from __future__ import annotations

import re
import sys
import threading
from types import FrameType
from typing import Any, Dict, List, Set, Tuple

import pytest

import errors
from app import STATUS
from auth import Auth
from tests.helpers import EMAIL, ROOT, STRONG, Visitor
from tests.test_house_rules import ROWS, SOURCES, imports, room_of, tree_of

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PICTURE, SIGN_IN = re.findall(r"```text\n(.*?)```", PAGE, re.S)
# A line of the sign-in: the file, and the function that is called.
CALL = re.compile(r"─ ([a-z_/]+\.py) +([a-z_]+)")


# -- The rooms

def rooms_drawn() -> List[str]:
    """Return the rooms of the picture as they are read.

    The first eleven columns name the floors.
    """
    return [room for line in PICTURE.splitlines()
            for room in re.sub(r"\(.*\)", "", line[11:]).split()]


def rooms_listed() -> Dict[str, Set[str]]:
    """Return the table's rooms, and what each is said to import."""
    rows = re.findall(r"^\| `([a-z]+)` \| [^|]+ \| ?([^|]*)\|$", PAGE, re.M)
    return {room: set(re.findall(r"`([a-z]+)`", said)) for room, said in rows}


def imports_of(room: str) -> Set[str]:
    """Return the other rooms from which a room takes something."""
    found = {module.partition(".")[0]
             for name in SOURCES if room_of(name) == room
             for _, module, _ in imports(tree_of(name))}
    return (found & set(ROWS)) - {room}


@pytest.mark.once
def test_picture_and_table_show_every_room_in_one_order() -> None:
    """Those that there are, and no other."""
    there = {room_of(name) for name in SOURCES}
    assert rooms_drawn() == list(rooms_listed())
    assert set(rooms_drawn()) == there


@pytest.mark.once
@pytest.mark.parametrize("room", rooms_listed())
def test_table_lists_every_import_of_the_room(room: str) -> None:
    """What may be imported is a rule; here stands what is."""
    assert rooms_listed()[room] == imports_of(room)


@pytest.mark.once
@pytest.mark.parametrize("room", rooms_drawn())
def test_imports_go_down_and_to_the_right(room: str) -> None:
    """The picture can be read without an arrow."""
    order = rooms_drawn() + ["tests"]
    assert imports_of(room) <= set(order[order.index(room) + 1:])


@pytest.mark.once
def test_nobody_imports_what_stands_outside() -> None:
    """The service does not need it to run."""
    outside = set(PICTURE.splitlines()[0].partition("(")[0].split()[1:])
    assert outside and not [room for room in set(rooms_drawn()) - outside
                            if imports_of(room) & outside]


# -- The life of a sign-in

class Calls:
    """Every call into our own sources, in all threads, while it lasts."""

    def __init__(self) -> None:
        """Begin with none."""
        self.made: List[Tuple[str, str]] = []

    def __enter__(self) -> Calls:
        """Listen from here on."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more, in any thread."""
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        """Write down a function when it is entered."""
        place = frame.f_code.co_filename
        if event == "call" and place.startswith(str(ROOT)):
            self.made.append((place[len(str(ROOT)) + 1:],
                              frame.f_code.co_name))


def test_sign_in_goes_as_it_is_drawn(member: Visitor, safe: Auth) -> None:
    """Through these functions, for the first time in this order."""
    drawn = CALL.findall(SIGN_IN)
    safe.close()  # threads of before hash unheard
    with Calls() as calls:
        assert member.logs_in(EMAIL, STRONG).status_code == 200
    assert len(drawn) == SIGN_IN.count(".py") > 10
    assert [each for each in dict.fromkeys(calls.made)
            if each in drawn] == drawn


@pytest.mark.once
def test_refusals_are_drawn_with_their_status() -> None:
    """As the table of app.py has them."""
    drawn = re.findall(r"(\d{3}) ([A-Z]\w+)", SIGN_IN)
    assert drawn == [(str(STATUS[getattr(errors, name)]), name)
                     for _, name in drawn] and drawn


# -- Where things go

@pytest.mark.once
def test_files_that_are_named_exist() -> None:
    """Whoever looks for them finds them."""
    named = re.findall(r"`([a-z_./]+(?:\.py|\.md|\.example|/))`", PAGE)
    assert [each for each in named if not (ROOT / each).exists()
            and not (ROOT / "docs" / each).exists()] == []
