"""What a run leaves on disk, and how it is read back, drawn and told."""

from autointerp.results.details import detail, read_details
from autointerp.results.failures import failures
from autointerp.results.figures import write_figures
from autointerp.results.manifest import read_manifest
from autointerp.results.reading import read_scores
from autointerp.results.report import write_report
from autointerp.results.run_folder import Finished, prepare_folder
from autointerp.results.summary import summarise
from autointerp.results.tables import Measured
from autointerp.results.words import show_text, verdicts
from autointerp.results.writer import RunWriter

__all__ = [
    "Finished",
    "Measured",
    "RunWriter",
    "detail",
    "failures",
    "prepare_folder",
    "read_details",
    "read_manifest",
    "read_scores",
    "show_text",
    "summarise",
    "verdicts",
    "write_figures",
    "write_report",
]
