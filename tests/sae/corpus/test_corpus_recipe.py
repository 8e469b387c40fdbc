"""Recipes: the shipped one holds what it promises; a wrong one is refused with its fault."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sae.corpus import DEFAULT_RECIPE, load_recipe
from sae.errors import BadInput

GOOD = """
name = "r"
[[sources]]
name = "a"
domain = "d"
registry = "pypi"
package = "p"
extractor = "text"
licence = "MIT"
redistributable = true
"""


def test_the_default_recipe() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    domains = Counter(source.domain for source in recipe.sources)
    english = {"docs-en", "email", "dictionary-en", "legal", "prose-en", "speech-en"}
    others = {"multilingual", "hebrew", "greek", "korean", "arabic"}
    assert english | others | {"code-c", "code-python", "bio", "maths", "html", "json"} <= set(domains)
    mail = [source for source in recipe.sources if source.domain == "email"]
    assert mail
    assert all(source.extractor == "email" and not source.redistributable for source in mail)
    assert all(source.licence for source in recipe.sources)
    # What PyPI and npm give is pinned, so that two people get the same text.
    for source in recipe.sources:
        if source.registry in ("pypi", "npm"):
            assert "==" in source.package or "@" in source.package[1:]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('licence = "MIT"', "", "source 'a' lacks: licence"),
        ('licence = "MIT"', 'licence = "MIT"\nlicense = "MIT"', "source 'a' has unknown keys: license"),
        ('"pypi"', '"cran"', "unknown registry 'cran'"),
        ('"text"', '"docx"', "unknown extractor 'docx'"),
        ("true", '"yes"', "redistributable must be of type bool, not 'yes'"),
        ("true", "true\nmax_bytes = true", "max_bytes must be of type int"),
        ('package = "p"', "", "it names no package"),
        ('name = "r"', "", "it needs a name"),
        ('name = "r"', 'name = "r"\nseed = 3', "unknown keys: seed"),
        ("[[sources]]", "[[sources]", "is not valid TOML"),
    ],
)
def test_faults_are_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(GOOD)
    assert load_recipe(path).sources[0].take == ("**/*",)
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(BadInput, match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_names_are_unique(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(GOOD + GOOD.split("\n", 2)[2])
    with pytest.raises(BadInput, match="source names appear twice: a"):
        load_recipe(path)


def test_no_such_recipe(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        load_recipe(tmp_path / "none.toml")
