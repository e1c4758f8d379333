"""Records that a training loop passes to a run folder, and the tables they become."""

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
