"""Text to token blocks, with documents, domains and sources kept."""

from sae.corpus.build import Settings, build_corpus
from sae.corpus.excerpt import write_excerpt
from sae.corpus.pack import TokenIds
from sae.corpus.reader import Corpus, Split
from sae.corpus.recipe import DEFAULT_RECIPE, Recipe, Source, load_recipe, recipe_for_files

__all__ = [
    "DEFAULT_RECIPE",
    "Corpus",
    "Recipe",
    "Settings",
    "Source",
    "Split",
    "TokenIds",
    "build_corpus",
    "load_recipe",
    "recipe_for_files",
    "write_excerpt",
]
