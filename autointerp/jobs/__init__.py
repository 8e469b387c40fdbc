"""A job file -> a run that can be interrupted and resumed."""

from autointerp.jobs.again import once_more
from autointerp.jobs.job import Job, load_job, save_job
from autointerp.jobs.overrides import on_model
from autointerp.jobs.run import run_job

__all__ = ["Job", "load_job", "on_model", "once_more", "run_job", "save_job"]
