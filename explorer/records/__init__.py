"""What crosses from a training loop to a run folder, and the tables that it becomes."""

from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    EventRecord,
    LayerRecord,
    LoadRecord,
    MemoryRecorder,
    NullRecorder,
    ProbeRecord,
    RankLoadRecord,
    Record,
    Recorder,
    SequenceLoadRecord,
    StepRecord,
)

__all__ = [
    "EvalLoadRecord",
    "EvalRecord",
    "EventRecord",
    "LayerRecord",
    "LoadRecord",
    "MemoryRecorder",
    "NullRecorder",
    "ProbeRecord",
    "RankLoadRecord",
    "Record",
    "Recorder",
    "SequenceLoadRecord",
    "StepRecord",
]
