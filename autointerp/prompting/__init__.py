"""Words sent to an LLM and values read from its replies: templates, few-shot examples, strict parsers."""

from autointerp.prompting.calls import (
    Call,
    all_of,
    ask_and_read,
    ask_chat,
    ask_echo,
    failed_call,
    merge_provenance,
)
from autointerp.prompting.excerpts import Excerpt, Line, excerpt, is_sparse, strongest
from autointerp.prompting.few_shot import FewShotExcerpt, FewShotUnit
from autointerp.prompting.library import prompts_folder, read_prompt_file, references, released
from autointerp.prompting.parsing import ParseFailure, is_refusal, parse_answer, parse_levels, parse_sentence
from autointerp.prompting.prompt import Prompt
from autointerp.prompting.template import Template, load_template
from autointerp.prompting.text import one_line

__all__ = [
    "Call",
    "Excerpt",
    "FewShotExcerpt",
    "FewShotUnit",
    "Line",
    "ParseFailure",
    "Prompt",
    "Template",
    "all_of",
    "ask_and_read",
    "ask_chat",
    "ask_echo",
    "excerpt",
    "failed_call",
    "is_refusal",
    "is_sparse",
    "load_template",
    "merge_provenance",
    "one_line",
    "parse_answer",
    "parse_levels",
    "parse_sentence",
    "prompts_folder",
    "read_prompt_file",
    "references",
    "released",
    "strongest",
]
