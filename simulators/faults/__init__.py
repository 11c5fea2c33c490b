"""Faults: what goes wrong with devices, on purpose and with a label.

    values   what is measured changes                            `FaultPlan.apply` on columns
    reports  when and how often it is told, and with which time  `simulators.reports.emissions`
    bytes    what is sent is no longer what it should be         the same

A fault is on from `start` until just before `end` by true time, and touches what is measured then; outside of that no
reading is changed. Applying a plan is pure: the same plan changes the same readings in the same way.
"""

from simulators.faults.demo import demo_plan
from simulators.faults.fault import ALL, Fault
from simulators.faults.kinds import CONVERSIONS, KINDS, FaultKind, FaultTraits, Layer
from simulators.faults.plan import FaultPlan, clash

__all__ = [
    "ALL",
    "CONVERSIONS",
    "KINDS",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "FaultTraits",
    "Layer",
    "clash",
    "demo_plan",
]
