"""Reading programs out of Markdown, and running them."""

from pathlib import Path

import pytest

from tests.docs.blocks import programs
from tests.docs.running import assert_prints, run

PAGE = """
# Title

```python
# greet.py
def greet(name):
    return f"hello {name}"
```

Then, in a list:

1. A program with output:

   ```python
   import greet
   print(greet.greet("you"))
   ```

   <!-- output -->
   ```text
   hello you
   ```

<!-- output -->
```console
$ python -c 'import greet; print(greet.greet("me"))'
hello ...
$ echo second
second
```

```bash
exit 1
```

<!-- not run: needs a network -->
```python
raise SystemExit(1)
```

```text
not an output
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_programs_are_found_in_order(page: Path) -> None:
    found = list(programs(page))
    assert [(program.language, program.file_name, program.expected) for program in found] == [
        ("python", "greet.py", None),
        ("python", None, "hello you\n"),
        ("console", None, "hello ...\nsecond\n"),
    ]
    assert found[1].source == 'import greet\nprint(greet.greet("you"))\n'
    assert list(found[1].files) == ["greet.py"] and not found[0].files


def test_programs_run_with_the_files_named_before_them(page: Path, tmp_path: Path) -> None:
    for number, program in enumerate(programs(page)):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = run(program, folder)
        assert done.returncode == 0, done.stderr
        if program.expected is not None:
            assert_prints(done.stdout, program.expected)


def test_another_output_is_a_failure() -> None:
    assert_prints("took 3 s\nend\n", "took ... s\nend")
    with pytest.raises(AssertionError):
        assert_prints("took 3 s\n", "took 4 s\n")
    with pytest.raises(AssertionError):
        assert_prints("took 3 s\nmore\n", "took 3 s\n")


def test_an_output_without_a_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("<!-- output -->\n```text\nnothing before\n```\n")
    with pytest.raises(ValueError, match="page.md:2: an output that follows no program"):
        list(programs(path))
