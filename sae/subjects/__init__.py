"""Models under study, behind one small interface of hooks."""

from sae.subjects.base import Subject
from sae.subjects.hugging_face import HuggingFaceSubject
from sae.subjects.loading import load_subject, load_tokenizer
from sae.subjects.one_layer import MLP_HOOK, OneLayerConfig, OneLayerSubject, OneLayerTransformer
from sae.subjects.shuffled import shuffle_weights
from sae.subjects.store import save_subject
from sae.subjects.training import Trainer, TrainingData, TrainingSettings

__all__ = [
    "MLP_HOOK",
    "HuggingFaceSubject",
    "OneLayerConfig",
    "OneLayerSubject",
    "OneLayerTransformer",
    "Subject",
    "Trainer",
    "TrainingData",
    "TrainingSettings",
    "load_subject",
    "load_tokenizer",
    "save_subject",
    "shuffle_weights",
]
