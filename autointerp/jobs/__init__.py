"""A job file -> a run that can be interrupted and resumed."""

from autointerp.jobs.again import once_more
from autointerp.jobs.check import check_models, check_text
from autointerp.jobs.job import Job, load_job, save_job
from autointerp.jobs.overrides import on_model
from autointerp.jobs.plan_job import plan_job, plan_text
from autointerp.jobs.run import run_job, run_to_summary

__all__ = [
    "Job",
    "check_models",
    "check_text",
    "load_job",
    "on_model",
    "once_more",
    "plan_job",
    "plan_text",
    "run_job",
    "run_to_summary",
    "save_job",
]
