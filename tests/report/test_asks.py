"""Where a text supports no cause: what is suspected, and what to ask next."""

from __future__ import annotations

import pytest

from nvdiag.knowledge._tables import MalformedTable, Table
from nvdiag.knowledge.deciders import deciders, deciders_of
from nvdiag.knowledge.pages import page_ids
from nvdiag.report import terminal
from nvdiag.report.asks import Question, question
from tests.checks.diagnosing import diagnosed
from tests.checks.pasting import pasted
from tests.scenarios import machines

SILENT = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


def asked(text: str) -> Question:
    found = question(diagnosed(pasted(text)))
    assert found is not None
    return found


def test_a_bare_sentence_asks_for_the_command_that_decides_most() -> None:
    found = asked(f"$ nvidia-smi\n{SILENT}\n")
    assert "driver-not-loaded" in found.suspected
    assert "/proc/driver/nvidia/version" in found.asks[0].command
    assert len(found.asks[0].decides) >= max(len(one.decides) for one in found.asks)


def test_what_was_pasted_already_is_not_asked_for() -> None:
    found = asked(f"$ nvidia-smi\n{SILENT}\n$ dmesg | grep -i nvidia\n[    1.0] nvidia: loading out-of-tree module\n")
    assert not any("dmesg" in one.command or one.command == "nvidia-smi" for one in found.asks)


def test_a_text_without_any_known_word_asks_for_the_usual_start() -> None:
    found = asked("it does not work")
    assert found.suspected == ()
    assert found.asks


def test_a_table_of_nvidia_smi_alone_asks_for_what_stands_above_the_driver() -> None:
    found = asked("| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |")
    assert found.suspected == ()
    assert "collect_env" in found.asks[0].command
    assert not any(one.command.startswith(("nvidia-smi", "lspci", "docker")) for one in found.asks)


def test_where_a_cause_is_claimed_nothing_is_asked() -> None:
    assert (
        question(diagnosed(pasted("modprobe: ERROR: could not insert 'nvidia': Key was rejected by service"))) is None
    )


def test_a_machine_is_asked_for_nothing() -> None:
    assert question(diagnosed(machines.ubuntu_dkms("570.169"))) is None


def test_the_terminal_says_what_to_add() -> None:
    text = terminal.render(diagnosed(pasted(SILENT)), terminal.Look())
    assert "the text alone decides nothing; it is seen with" in text
    assert "add what these print, the most telling first:" in text


@pytest.mark.parametrize("row", deciders(), ids=lambda row: row.command[:40])
def test_a_decider_decides_between_findings_that_exist(row: object) -> None:
    decides = getattr(row, "decides")  # noqa: B009
    assert len(decides) > 2
    assert set(decides) <= set(page_ids())


def test_a_decider_that_decides_nothing_is_refused() -> None:
    text = '[sources]\na = "b"\n[[decider]]\ncommand = "x"\nshows = "y"\ndecides = []\nseen = []\nsource = ["a"]\n'
    with pytest.raises(MalformedTable, match="decides nothing"):
        deciders_of(Table("t", text, ("decider",)))
