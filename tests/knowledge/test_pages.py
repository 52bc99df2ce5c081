"""The pages of the findings: every part is there, says something, and its commands are ones that a shell reads."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nvdiag.knowledge.pages import AREAS, SECTIONS, MalformedPage, Page, page, page_ids, page_of
from nvdiag.model.finding import FindingClass

ROOT = Path(__file__).resolve().parents[2]

PAGE = """+++
area = "driver"
class = "configuration"
summary = "Something is wrong."
+++

# some-finding
""" + "".join(f"\n## {name}\n\nWords.\n" for name in SECTIONS)


def there(identifier: str) -> Page:
    found = page(identifier)
    assert found is not None
    return found


@pytest.mark.parametrize("identifier", page_ids())
def test_a_page_has_all_its_parts(identifier: str) -> None:
    found = there(identifier)
    assert found.id == identifier
    assert found.area in AREAS
    assert isinstance(found.kind, FindingClass)
    assert found.summary.endswith(".")
    assert tuple(found.sections) == SECTIONS
    assert all(found.sections.values())


@pytest.mark.parametrize("identifier", page_ids())
def test_a_page_is_wrapped_and_short_enough_to_be_read_in_a_hurry(identifier: str) -> None:
    lines = there(identifier).body.splitlines()
    assert 30 <= len(lines) <= 90
    assert [line for line in lines if len(line) > 110] == []


@pytest.mark.parametrize("identifier", page_ids())
def test_the_commands_of_a_page_are_ones_that_a_shell_reads(identifier: str) -> None:
    blocks = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", there(identifier).body, re.MULTILINE | re.DOTALL)
    assert {language for _, language, _ in blocks} <= {"sh", "text"}
    for _, language, text in blocks:
        if language == "sh":
            read = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
            assert (read.returncode, read.stderr) == (0, ""), text


@pytest.mark.parametrize("identifier", page_ids())
def test_fences_are_closed(identifier: str) -> None:
    assert there(identifier).body.count("```") % 2 == 0


@pytest.mark.parametrize("identifier", page_ids())
def test_a_page_speaks_of_containers_or_wsl_too(identifier: str) -> None:
    assert re.search("container|WSL", there(identifier).sections["What to do"], re.IGNORECASE)


@pytest.mark.parametrize("identifier", page_ids())
def test_findings_that_a_page_tells_apart_have_pages(identifier: str) -> None:
    words = there(identifier).sections["Not to be confused with"]
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", words)) - {"nvidia-smi"}
    assert named
    assert named <= set(page_ids())
    assert identifier not in named


def test_no_page_forces_a_module_out_or_purges_all_packages() -> None:
    for identifier in page_ids():
        body = there(identifier).body
        assert not re.search(r"rmmod (-f|--force)|apt(-get)? (purge|remove) '?\*|systemctl isolate", body), identifier


def test_every_finding_that_a_check_reports_has_a_page_and_the_other_way_round() -> None:
    from nvdiag.catalogue import built_in

    reported = {identifier for one in built_in() for identifier in one.ids}
    assert reported == set(page_ids())


def test_an_id_without_a_page_has_none() -> None:
    assert page("no-such-finding") is None


@pytest.mark.parametrize("identifier", ["", "../driver", "pages/x", "Driver-Library-Mismatch", "x.md", "a--b", "é"])
def test_what_is_no_id_is_never_looked_up_as_a_path(identifier: str) -> None:
    assert page(identifier) is None


def test_a_package_without_pages_has_none() -> None:
    assert page_ids("nvdiag.model") == ()
    assert page("driver-library-mismatch", "nvdiag.model") is None


def test_a_well_formed_page_is_read() -> None:
    found = page_of("some-finding", PAGE)
    assert (found.area, found.kind, found.summary) == ("driver", FindingClass.CONFIGURATION, "Something is wrong.")
    assert found.sections["Causes"] == "Words."
    assert found.body.startswith("# some-finding\n")


def test_a_heading_inside_a_fence_is_text() -> None:
    fenced = PAGE.replace("## Causes\n\nWords.", "## Causes\n\n```sh\n## What to do\n```", 1)
    assert page_of("some-finding", fenced).sections["Causes"] == "```sh\n## What to do\n```"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("+++\narea", "area", "does not begin with"),
        ('area = "driver"', "area = driver", "some-finding: "),
        ('area = "driver"', 'area = "driver"\nauthor = "me"', "author"),
        ('area = "driver"\n', "", "not area, class and summary"),
        ('area = "driver"', 'area = "roof"', "no such area: roof"),
        ('class = "configuration"', 'class = "weather"', "no such class: weather"),
        ('summary = "Something is wrong."', 'summary = ""', "has no summary"),
        ("# some-finding", "# other-finding", "its title is not its id"),
        ("## Causes", "## Reasons", "its sections are"),
        ("## Causes\n\nWords.", "## Causes\n", "nothing under Causes"),
        ("\n## Prevention\n\nWords.\n", "", "its sections are"),
    ],
)
def test_a_malformed_page_is_refused_with_a_clear_message(old: str, new: str, message: str) -> None:
    assert old in PAGE
    with pytest.raises(MalformedPage, match=message):
        page_of("some-finding", PAGE.replace(old, new, 1))


def test_tables_and_pages_are_read_out_of_a_zip_file(tmp_path: Path) -> None:
    archive = tmp_path / "nvdiag.pyz"
    with zipfile.ZipFile(archive, "w") as target:
        for folder in ("nvdiag/knowledge", "nvdiag/model"):
            for file in (ROOT / folder).glob("*.*"):
                target.write(file, f"{folder}/{file.name}")
        for file in (ROOT / "checks" / "pages").glob("*.md"):
            target.write(file, f"nvdiag/checks/pages/{file.name}")
        target.writestr("nvdiag/__init__.py", "")
        target.writestr("nvdiag/checks/__init__.py", "")
    program = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        "from nvdiag.knowledge import cuda, pages\n"
        "assert '.pyz' in pages.__file__\n"
        "print(cuda.cuda_of_branch(550), len(pages.page_ids()), pages.page('probe-hung').area, pages.page('nothing'))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.stderr == ""
    assert run.stdout.split() == ["12.4", str(len(page_ids())), "engine", "None"]


def test_the_parser_is_not_imported_before_a_table_is_asked() -> None:
    program = (
        "import sys\n"
        "from nvdiag.knowledge import cuda, cuda_errors, nvml, pages\n"
        "print(sorted({'tomllib', 'tomli', 'importlib.resources', 'pkgutil'} & set(sys.modules)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == "[]"
