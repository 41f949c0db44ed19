"""The tutorial and docs/using.md are executed, with a package that was built and unpacked, in an empty folder."""

import re
import zipfile
from pathlib import Path

import pytest

from documents import blocks_of, differences, execute, rewritten, steps_of
from rewrite import DOCUMENTS, ROOT, environment

#: Issue's limit for the tutorial, taken as CPU time, which does not depend on what else a machine does.
LIMIT_SECONDS = 300.0


@pytest.fixture(scope="module")
def library(distributions, tmp_path_factory):
    """A folder with what the wheel holds, and nothing else of this repository."""
    folder = tmp_path_factory.mktemp("library")
    with zipfile.ZipFile(distributions[0]) as wheel:
        wheel.extractall(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_states_is_what_its_commands_say(name, library, tmp_path):
    document, here = ROOT / name, tmp_path / "here"
    here.mkdir()
    ran = execute(document, here, environment(library, tmp_path / "bin"))
    assert Path(ran["library"]).is_relative_to(library)
    steps = steps_of(blocks_of(document.read_text(encoding="utf-8")))
    assert len(steps) == len(ran["outputs"]) and sum(stated is not None for _, stated in steps) >= 6
    wrong = [
        f"{name}, line {stated.start + 1}: {difference}"
        for (_, stated), output in zip(steps, ran["outputs"], strict=True)
        if stated is not None
        for difference in differences(stated, output)
    ]
    assert not wrong, "\n".join([*wrong, f"regenerate and read: python tests/docs/rewrite.py {name}"])
    assert ran["seconds"] < LIMIT_SECONDS
    if name == "docs/tutorial.md":
        kept_its_promise("".join(ran["outputs"]))


def kept_its_promise(output):
    """Dynamics at half the pairs, with the energy conserved, and an error that is not above that at 6 A everywhere."""
    before, after = (float(value) for value in re.findall(r"pairs per atom +([\d.]+) \(mean\)", output))
    assert after < 0.5 * before
    drifts = [float(value) for value in re.findall(r"energy drift +(\S+) meV/atom/ps", output)]
    assert len(drifts) == 2 and max(map(abs, drifts)) < 1.0
    ((rise, uncertainty),) = re.findall(r"\((\S+)% \+- (\S+)%\)", output)
    assert float(rise) < float(uncertainty)


EXAMPLE = """
# Title

<!-- not run -->
```sh
rm -rf everything
```

```sh
echo "steps 12, energy -3.25 eV (61%)"; echo "noise" >&2
```

<!-- within 10% -->
<!-- varies: steps \\d+ -->
```
steps 9, energy  -3.00 eV (57%)
```

Text.

```python
x = 2
```

```python
print(f"{x} atoms, {0.123456:.3f} A, d2f2a49f")
```

```
2 atoms, 0.124 A, d2f2a49f
```
"""


def test_a_document_is_run_compared_and_rewritten(tmp_path, library):
    (tmp_path / "example.md").write_text(EXAMPLE, encoding="utf-8")
    ran = execute(tmp_path / "example.md", tmp_path, environment(library, tmp_path / "bin"))
    assert ran["outputs"] == ["steps 12, energy -3.25 eV (61%)\n", "", "2 atoms, 0.123 A, d2f2a49f\n"]
    stated = [stated for _, stated in steps_of(blocks_of(EXAMPLE)) if stated is not None]
    assert [differences(block, output) for block, output in zip(stated, ran["outputs"][::2], strict=True)] == [[], []]
    for wrong in ("3 atoms, 0.124 A, d2f2a49f", "2 atoms, 0.126 A, d2f2a49f", "2 atoms, 0.124 A, d2f2a49e", ""):
        assert differences(stated[1], wrong)
    assert differences(stated[0], "steps 12, energy -3.40 eV (61%)") and differences(stated[0], "energy -3.25 eV (61%)")
    new = rewritten(EXAMPLE, ran["outputs"])
    assert new.splitlines()[14:16] == ["```", "steps 12, energy -3.25 eV (61%)"] and "0.123 A" in new
    assert new.replace("steps 12, energy -3.25 eV (61%)\n```", "").count("steps") == EXAMPLE.count("steps") - 1


def test_a_block_that_fails_is_named(tmp_path, library):
    (tmp_path / "bad.md").write_text("```python\na = 1\nb = a + c\n```\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"(?s)bad\.md: line 2: this block failed.*line 3.*NameError"):
        execute(tmp_path / "bad.md", tmp_path, environment(library, tmp_path / "bin"))
    with pytest.raises(ValueError, match="line 1: this block has no end"):
        blocks_of("```sh\necho\n")
