"""How sparse to be at each training step. One file per schedule; the file registers it.

>>> cubic(0.0, 0.9, steps=range(0, 2000, 100))
Schedule(0 at step 0 to 0.9 at step 1900, 20 updates)
"""

from secateur.pruning.schedules._base import SCHEDULES, Schedule
from secateur.pruning.schedules.cubic import cubic
from secateur.pruning.schedules.exponential import exponential
from secateur.pruning.schedules.function import function
from secateur.pruning.schedules.linear import linear
from secateur.pruning.schedules.one_shot import one_shot
from secateur.pruning.schedules.polynomial import polynomial
from secateur.pruning.schedules.stepwise import stepwise

__all__ = [
    "SCHEDULES",
    "Schedule",
    "cubic",
    "exponential",
    "function",
    "linear",
    "one_shot",
    "polynomial",
    "stepwise",
]

# A schedule has the name of its file. Importing the file binds that name to the module; this binds
# it to the schedule, also for files that the imports above do not know.
globals().update({name: SCHEDULES.get(name) for name in SCHEDULES.names()})
