"""Python runs a module of this name at its start: what tests change in every process of a worker.

FAULTS_CLOCK_SHIFT sets the clock forward by as many seconds, or back, and writes the wrong and the
right time into the file FAULTS_CLOCKS. (libfaketime is of no use: with it, `time.sleep` of Python
3.11 fails.)

FAULTS_SWITCHES names a folder. The classifier is then a stand-in that computes its scores from the
bytes of a rendering, so that a run takes seconds and a single changed pixel changes the scores.
Files in the folder make one product kill its process or eat its memory.
"""

import os

if "FAULTS_CLOCK_SHIFT" in os.environ:
    import wrong_clock

    wrong_clock.shift(float(os.environ["FAULTS_CLOCK_SHIFT"]))

if "FAULTS_SWITCHES" in os.environ:
    import stand_in

    stand_in.install()
