"""The table of GPU generations: in agreement with known boards, without overlap, sourced."""

import pytest

from nvdiag.knowledge import gpu_generations
from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.gpu_generations import OpenModules, generation_of, generations, newest_device

ROW = """
[sources]
list = "a list"

[[generation]]
name = "Maxwell"
ranges = ["1340-13ff"]
first = 331
boards = 352
last = 580
open = "unsupported"
source = ["list"]
"""


@pytest.mark.parametrize(
    ("device", "name", "last"),
    [
        (0x0622, "Tesla", 340),  # GeForce 9600 GT
        (0x1081, "Fermi", 390),  # GeForce GTX 570
        (0x0FF2, "Kepler of the first GRID boards", 367),  # GRID K1
        (0x102D, "Kepler", 470),  # Tesla K80
        (0x128B, "Kepler", 470),  # GeForce GT 710
        (0x139B, "Maxwell", 580),  # GeForce GTX 960M
        (0x13C2, "Maxwell", 580),  # GeForce GTX 970
        (0x179C, "Maxwell", 580),  # GeForce 940MX
        (0x15F8, "Pascal", 580),  # Tesla P100
        (0x1D01, "Pascal", 580),  # GeForce GT 1030
        (0x1DB4, "Volta", 580),  # Tesla V100
        (0x1EB8, "Turing", None),  # Tesla T4
        (0x2182, "Turing", None),  # GeForce GTX 1660 Ti
        (0x20B5, "Ampere of the data centre (GA100)", None),  # A100
        (0x2204, "Ampere", None),  # GeForce RTX 3090
        (0x2507, "Ampere", None),  # GeForce RTX 3050
        (0x2330, "Hopper", None),  # H100
        (0x2342, "Grace Hopper", None),  # GH200
        (0x26B9, "Ada Lovelace", None),  # L40S
        (0x2901, "Blackwell", None),  # B200
        (0x2941, "Blackwell", None),  # GB200
        (0x2B85, "Blackwell", None),  # GeForce RTX 5090
        (0x2D04, "Blackwell", None),  # GeForce RTX 5060 Ti
        (0x3182, "Blackwell Ultra", None),  # B300
    ],
)
def test_a_board_is_of_its_generation(device: int, name: str, last: int | None) -> None:
    found = generation_of(device)
    assert found is not None
    assert (found.name, found.last) == (name, last)


def test_open_modules_are_supported_from_turing_on_and_required_from_blackwell_on() -> None:
    names = {one.name: one.open_modules for one in generations()}
    assert names["Volta"] is OpenModules.UNSUPPORTED
    assert names["Turing"] is OpenModules.SUPPORTED
    assert names["Hopper"] is OpenModules.SUPPORTED
    assert names["Grace Hopper"] is names["Blackwell"] is OpenModules.REQUIRED


def test_generations_that_branch_590_dropped_are_those_before_turing() -> None:
    assert {one.name for one in generations() if one.last == 580} == {"Maxwell", "Pascal", "Volta"}


def test_an_id_beyond_the_table_is_of_no_generation() -> None:
    assert generation_of(newest_device() + 1) is None
    assert generation_of(0x0110) is None


def generations_in(text: str) -> tuple[gpu_generations.Generation, ...]:
    return gpu_generations.generations_of(Table("generations.toml", text, ("generation",)))


def test_a_well_formed_row_is_read() -> None:
    row = generations_in(ROW)[0]
    assert (row.ranges, row.first, row.boards, row.last) == (((0x1340, 0x13FF),), 331, 352, 580)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1340-13ff", "13ff-1340", "no range"),
        ("1340-13ff", "1340", "no range"),
        ('["1340-13ff"]', '["1340-13ff", "13f0-1400"]', "13f0 is in two ranges"),
        ("boards = 352", "boards = 300", "out of order"),
        ("last = 580", "last = 340", "out of order"),
        ('"unsupported"', '"perhaps"', "not perhaps"),
    ],
)
def test_a_malformed_row_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(MalformedTable, match=message):
        generations_in(ROW.replace(old, new, 1))
